"""The pictures of the paper's experiment, from its results: curves over the epochs, and slices."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws into files, needs no screen

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from examples import paper_data, paper_plan, slices, synthetic
from examples.paper_plan import ARMS, TASKS, Results, arms_of
from examples.picture import FOUND, LABEL, paint

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
PALETTE = ("#555555", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
COLOURS = dict(zip(ARMS, PALETTE, strict=True))
ROWS = (
    ("dice", "Dice, validation"),
    ("hd95_mm", "HD95 (mm), validation"),
    ("false_lesions", "false lesions, validation"),
    ("tested", "Dice, patient left out"),
    ("alpha", "alpha"),
)


def draw(results: Results, folder: Path = PICTURES) -> list[Path]:
    """Draw what there are runs of; the files."""
    files = []
    for task in TASKS:
        if any(run.task == task for run in paper_plan.finished(results)):
            folder.mkdir(parents=True, exist_ok=True)
            for name, function in (("curves", draw_curves), ("slices", draw_slices)):
                file = folder / f"paper-{task}-{name}.png"
                figure = function(results, task)
                # Without the version of matplotlib in it, the same results are the same file.
                figure.savefig(file, dpi=80, metadata={"Software": None})
                plt.close(figure)
                files.append(file)
    return files


def draw_made(folder: Path = PICTURES) -> Path:
    """A few of the synthetic task's slices that are reported, with their labels below."""
    bases = synthetic.bases(slices.load_patient(TASKS["synthetic"].folds[0]))
    images, labels = synthetic.made(bases, 4, paper_data.TEST_SEED)
    figure, axes = plt.subplots(2, len(images), figsize=(12, 7.2), layout="constrained")
    for column, (image, label) in enumerate(zip(images[:, 0], labels, strict=True)):
        for axis in axes[:, column]:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.imshow(image.clamp(-2.5, 2.5).numpy(), cmap="gray")
        axes[1][column].contour(label.float().numpy(), levels=[0.5], colors=LABEL, linewidths=0.9)
        share = label.float().mean().item()
        axes[0][column].set_title(f"synthetic, {share:.2%} of the slice", fontsize=10)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "paper-synthetic-made.png"
    figure.savefig(file, dpi=65, metadata={"Software": None})
    plt.close(figure)
    return file


def draw_curves(results: Results, task: str) -> plt.Figure:
    """A column for each patient left out: the mean of an arm's runs, and their range over seeds."""
    folds = TASKS[task].folds
    done = paper_plan.finished(results)
    size = (4.2 * len(folds) + 1.5, 2.1 * len(ROWS) + 0.6)
    figure, axes = plt.subplots(
        len(ROWS), len(folds), figsize=size, layout="constrained", sharex=True, squeeze=False
    )
    for column, fold in enumerate(folds):
        for row, (key, heading) in enumerate(ROWS):
            axis = axes[row][column]
            for arm in arms_of(task):
                outcomes = [
                    outcome
                    for run, outcome in done.items()
                    if (run.task, run.held_out, run.arm) == (task, fold, arm)
                ]
                if outcomes:
                    draw_arm(axis, key, arm, outcomes)
            axis.grid(alpha=0.25)
            if column == 0:
                axis.set_ylabel(heading)
            if key == "false_lesions":
                axis.set_yscale("symlog", linthresh=10)
            axis.set_ylim(0, 1.03 if key in ("dice", "tested", "alpha") else None)
        of = {run.seed for run in done if (run.task, run.held_out) == (task, fold)}
        axes[0][column].set_title(f"{TASKS[task].name}, without {fold} (seeds: {len(of)})")
        axes[-1][column].set_xlabel("epoch")
    handles = {}
    for axis in axes.flat:
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def draw_arm(axis: plt.Axes, key: str, arm: str, outcomes: list[Results]) -> None:
    """One arm's curves: thin the range of the seeds, thick their mean."""
    if key == "tested":
        epochs = outcomes[0]["tested"]["epoch"]
        values = [outcome["tested"]["dice"] for outcome in outcomes]
    else:
        epochs = list(range(1, outcomes[0]["epochs"] + 1))
        values = [outcome["curves"][key] for outcome in outcomes]
    table = np.array(values, float)  # None, where nothing was found, is not a number
    known = ~np.isnan(table).all(axis=0)
    if not known.any():
        return
    x = np.array(epochs)[known]
    table = table[:, known]
    mean, low, high = (f(table, axis=0) for f in (np.nanmean, np.nanmin, np.nanmax))
    axis.plot(x, mean, color=COLOURS[arm], linewidth=1.4, label=ARMS[arm].name)
    axis.fill_between(x, low, high, color=COLOURS[arm], alpha=0.2, linewidth=0)


def around(label: Tensor, margin: int = 20) -> tuple[slice, slice]:
    """Rows and columns of the lesions and a margin."""
    sides = []
    for other, size in zip((1, 0), label.shape, strict=True):
        found = label.any(dim=other).nonzero()
        first, last = int(found[0]), int(found[-1])
        sides.append(slice(max(first - margin, 0), min(last + margin + 1, size)))
    return sides[0], sides[1]


def draw_slices(results: Results, task: str) -> plt.Figure:
    """A row for each patient left out: label, and each arm's prediction of the first seed."""
    done = paper_plan.finished(results)
    folds = [f for f in TASKS[task].folds if any((r.task, r.held_out) == (task, f) for r in done)]
    columns = len(arms_of(task)) + 1
    size = (2.4 * columns, 3.2 * len(folds))
    figure, axes = plt.subplots(
        len(folds), columns, figsize=size, layout="constrained", squeeze=False
    )
    for row, fold in zip(axes, folds, strict=True):
        image, label = paper_data.shown_slice(task, fold)
        rows, across = around(label)
        label = label[rows, across]
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.imshow(image[rows, across].clamp(-2.5, 2.5).numpy(), cmap="gray")
        row[0].set_title(f"{TASKS[task].name}, {fold}: label", fontsize=8)
        paint(row[0], label, LABEL)
        for axis, (arm, described) in zip(row[1:], arms_of(task).items(), strict=True):
            runs = sorted(r for r in done if (r.task, r.held_out, r.arm) == (task, fold, arm))
            axis.set_title(described.name.replace(", ", ",\n", 1), fontsize=8)
            if not runs:
                axis.set_xlabel("not run yet", fontsize=8)
                continue
            mask = torch.from_numpy(paper_plan.unpacked(done[runs[0]]["shown"]))
            paint(axis, mask[rows, across], FOUND)
            axis.contour(label.float().numpy(), levels=[0.5], colors=LABEL, linewidths=0.8)
            axis.set_xlabel(f"seed {runs[0].seed}", fontsize=8)
    return figure
