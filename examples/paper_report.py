"""The tables of the paper's experiment, from its results: what stands in docs/paper.md.

Every number comes from docs/paper.json, and so does every sentence that says what the numbers
show: while planned runs are missing it draws no conclusion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from examples import paper_plan
from examples.ablation_report import NONE, mean, number, share, table
from examples.paper_plan import ARMS, GDL, TASKS, Results, Run, Task, arms_of

PAGE = Path(__file__).parent.parent / "docs" / "paper.md"
START, END = "<!-- paper -->", "<!-- /paper -->"
# Student's t, two-sided 95 %, by degrees of freedom: seeds and patients are few.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}
AMONG = (  # what else is held against each other: the conventions, and the magnitude of the maps
    ("rebalance-midpoint", "rebalance-shifted"),
    ("rebalance-normalised", "rebalance-shifted"),
)


class Measure(NamedTuple):
    """What is compared: heading, digits, whether more of it is better, and where it is kept."""

    heading: str
    digits: int
    more_is_better: bool
    value: Callable[[Results], float | None]


def roughness(outcome: Results) -> float | None:
    """How much the validation Dice changes from one epoch to the next, in the second half."""
    dice = outcome["curves"]["dice"]
    later = dice[len(dice) // 2 :]
    return fmean(abs(b - a) for a, b in pairwise(later)) if len(later) > 1 else None


def late_dice(outcome: Results) -> float:
    """The Dice of the data left out, the mean of the last fifth of the epochs at which it is known.

    From one epoch to the next it may halve or double: that of a single epoch is much of chance.
    """
    tested = outcome["tested"]
    late = zip(tested["epoch"], tested["dice"], strict=True)
    return fmean(dice for epoch, dice in late if epoch >= 0.8 * outcome["epochs"])


MEASURES = (
    Measure("Dice, last epoch", 3, True, lambda one: one["last"]["dice"]),
    Measure("Dice, last fifth", 3, True, late_dice),
    Measure("Dice, best epoch", 3, True, lambda one: one["best"]["dice"]),
    Measure("HD95, last epoch (mm)", 1, False, lambda one: one["last"]["hd95_mm"]),
    Measure("false lesions, last epoch", 1, False, lambda one: one["last"]["false_lesions"]),
    Measure("change of Dice per epoch", 3, False, roughness),
)


class Interval(NamedTuple):
    """A mean and the half width of its 95 % interval; infinite of a single value."""

    middle: float
    half: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of zero, else 0."""
        return 0 if abs(self.middle) <= self.half else int(math.copysign(1, self.middle))

    def text(self, digits: int) -> str:
        known = f" ± {self.half:.{digits}f}" if math.isfinite(self.half) else ""
        return f"{self.middle:+.{digits}f}{known}"


def interval(values: list[float]) -> Interval:
    """Student's interval of the mean of these values."""
    if len(values) < 2:
        return Interval(fmean(values), math.inf)
    spread = stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values), T95[len(values) - 1] * spread)


def differences(
    results: Results, task: str, one: str, other: str, measure: Measure
) -> dict[Run, float]:
    """For each seed and patient that both arms have, the one's value minus the other's."""
    done = paper_plan.finished(results)
    found = {}
    for run, outcome in done.items():
        partner = done.get(run._replace(arm=other))
        if (run.task, run.arm) == (task, one) and partner is not None:
            values = measure.value(outcome), measure.value(partner)
            if values[0] is not None and values[1] is not None:
                found[run] = values[0] - values[1]
    return found


def over(found: dict[Run, float], field: str) -> Interval:
    """The interval over seeds, or over patients: of the means for each of them."""
    groups = sorted({getattr(run, field) for run in found})
    values = [
        fmean(value for run, value in found.items() if getattr(run, field) == group)
        for group in groups
    ]
    return interval(values)


def comparisons(results: Results, task: str) -> list[tuple[str, str]]:
    """What is held against what: every arm against generalised Dice, and some of them."""
    arms = {run.arm for run in paper_plan.finished(results) if run.task == task}
    pairs = [*((arm, GDL) for arm in ARMS if arm != GDL), *AMONG]
    return [pair for pair in pairs if arms >= set(pair)]


def counts(results: Results, task: str) -> tuple[int, int]:
    """How many runs of the task are done, and how many are planned."""
    runs = paper_plan.planned([task])
    return len([run for run in runs if run in paper_plan.finished(results)]), len(runs)


def complete(results: Results) -> bool:
    return all(done == planned for done, planned in (counts(results, task) for task in TASKS))


def status(results: Results) -> str:
    """How many of the planned runs are done."""
    parts = []
    for task, described in TASKS.items():
        done, planned = counts(results, task)
        parts.append(f"{done} of {planned} on {described.name}")
    hours = sum(run["seconds"] for run in results["runs"]) / 3600
    if complete(results):
        text = f"All planned runs are done: {', '.join(parts)}."
    else:
        text = (
            f"**Incomplete: {', '.join(parts)}. While runs are missing no conclusion is drawn**; "
            "what is done so far is shown."
        )
    if results["runs"]:
        places = {(run["device"], run["threads"], run["torch"]) for run in results["runs"]}
        where = "; ".join(f"{d}, threads: {n}, torch {t}" for d, n, t in sorted(places))
        text += f" {hours:.1f} hours of the processor's time so far ({where})."
    return text


def runs_of(results: Results, task: str, arm: str) -> list[Results]:
    done = paper_plan.finished(results)
    return [outcome for run, outcome in done.items() if (run.task, run.arm) == (task, arm)]


def summary(results: Results, task: str) -> str:
    """One row an arm, means over all its runs."""
    head = ["loss", "runs", *(measure.heading for measure in MEASURES), "lesions found"]
    rows = []
    for key, arm in arms_of(task).items():
        runs = runs_of(results, task, key)
        values = [mean([m.value(run) for run in runs], m.digits) for m in MEASURES]
        found = share([run["last"] for run in runs], "found", "lesions") if runs else NONE
        rows.append([arm.name, str(len(runs)), *values, found])
    return table(head, rows)


def against(results: Results, task: str) -> str:
    """Differences of arms with their intervals."""
    folds = len(TASKS[task].folds) > 1
    rows = []
    for one, other in comparisons(results, task):
        row = [title(one), title(other)]
        pairs = 0
        for measure in MEASURES:
            found = differences(results, task, one, other, measure)
            pairs = max(pairs, len(found))
            row.append(cell(found, measure, folds))
        rows.append([*row[:2], str(pairs), *row[2:]])
    if not rows:
        return "No two arms have a run of the same seed and patient yet."
    text = (
        "Pairs share patient and seed, hence the first weights and the order of the slices. Mean "
        "difference ± half of its 95 % interval (Student's t) over the seeds"
        + (", then over the patients. " if folds else ". ")
        + "Of one value there is no interval."
    )
    head = ["this", "minus this", "pairs", *(measure.heading for measure in MEASURES)]
    return f"{text}\n\n{table(head, rows)}"


def cell(found: dict[Run, float], measure: Measure, folds: bool) -> str:
    if not found:
        return NONE
    seeds, patients = over(found, "seed"), over(found, "held_out")
    text = seeds.text(measure.digits)
    if not folds:
        return text
    half = f"{patients.half:.{measure.digits}f}" if math.isfinite(patients.half) else "unknown"
    return f"{text}; patients ± {half}"


def title(arm: str) -> str:
    return ARMS[arm].name.removeprefix("+ ")


def verdict(results: Results, task: str) -> str:
    """What may be said of a complete task: differences whose intervals keep clear of zero."""
    done, planned = counts(results, task)
    if done < planned:
        return f"{planned - done} of {planned} runs are missing: no conclusion is drawn."
    fields = ("seed", "held_out") if len(TASKS[task].folds) > 1 else ("seed",)
    lines, asked = [], 0
    for one, other in comparisons(results, task):
        for measure in MEASURES:
            asked += 1
            found = differences(results, task, one, other, measure)
            signs = {over(found, field).sign for field in fields} if found else {0}
            # Without its worst runs, those that found nothing and have no HD95, it shows nothing.
            whole = len(found) == len(runs_of(results, task, one))
            if whole and len(signs) == 1 and signs != {0}:
                better = (signs == {1}) == measure.more_is_better
                side = "better" if better else "worse"
                lines.append(f"- {measure.heading}: {title(one)} is {side} than {title(other)}.")
    of = " and ".join("seeds" if field == "seed" else "patients" for field in fields)
    text = (
        f"In {len(lines)} of {asked} comparisons the interval over {of} keeps clear of zero; were "
        f"there no difference at all, up to {asked * 0.05:.1f} would be expected to."
    )
    return "\n".join([text, "", *lines]) if lines else text


def each_run(results: Results, task: str) -> str:
    """All runs: last epoch, and the epoch that the validation calls best."""
    rows = []
    for run in paper_plan.planned([task]):
        outcome = paper_plan.finished(results).get(run)
        if outcome is None:
            continue
        last, best = outcome["last"], outcome["best"]
        rows.append(
            [
                run.held_out,
                str(run.seed),
                ARMS[run.arm].name,
                f"{last['dice']:.3f}",
                number(last["hd95_mm"], 1),
                f"{last['found']} of {last['lesions']}",
                f"{last['thin_found']} of {last['thin']}",
                str(last["false_lesions"]),
                f"{best['dice']:.3f} ({best['epoch']})",
                f"{outcome['seconds'] / 60:.0f}",
            ]
        )
    head = ["left out", "seed", "loss", "Dice", "HD95 (mm)", "lesions found", "thin ones found"]
    return table([*head, "false lesions", "Dice, best epoch", "minutes"], rows)


def of_task(results: Results, task: str, described: Task) -> Iterable[str]:
    """The part of the page about one task."""
    done, planned = counts(results, task)
    yield f"### {described.name[0].upper()}{described.name[1:]}: {done} of {planned} runs"
    if not done:
        yield "No run is complete yet."
        return
    yield summary(results, task)
    yield against(results, task)
    yield verdict(results, task)
    yield f"![{curves_caption(described)}](pictures/paper-{task}-curves.png)"
    yield f"![{slices_caption(described)}](pictures/paper-{task}-slices.png)"
    yield "<details><summary>Every run</summary>"
    yield each_run(results, task)
    yield "</details>"


def curves_caption(task: Task) -> str:
    return (
        f"{task.name}, validation: Dice, HD95 and false lesions by epoch, the mean of the finished "
        "runs and the range of the seeds; alpha below"
    )


def slices_caption(task: Task) -> str:
    return f"{task.name}: a slice of the patient left out, its label, and what each arm predicts"


def section(results: Results) -> str:
    """All that the page says about these results, in Markdown."""
    parts = [status(results)]
    for task, described in TASKS.items():
        parts += of_task(results, task, described)
    return "\n\n".join(parts)


def replaced(text: str, results: Results) -> str:
    """The page with the tables of these results between its markers."""
    pattern = re.compile(f"{START}.*{END}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no {START} ... {END} in the page")
    return pattern.sub(lambda _: f"{START}\n{section(results)}\n{END}", text)


def publish(results: Results, page: Path = PAGE) -> None:
    """Put the tables of these results into the page."""
    paper_plan.write(page, replaced(page.read_text(), results))
