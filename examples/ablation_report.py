"""The tables of the ablation, from its results: what stands between two markers in docs/.

Every number of docs/ablation.md comes from docs/ablation.json through `section`, the sentences
that say what the numbers show included: nothing can be claimed there that they do not show.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import fmean, stdev

from examples import ablation_runs
from examples.ablation_runs import COMPARISONS, PATIENTS, RECIPES, Results, Run

DOCS = Path(__file__).parent.parent / "docs"
PAGE, JSON = DOCS / "ablation.md", DOCS / "ablation.json"
START, END = "<!-- ablation -->", "<!-- /ablation -->"
NOTHING, NONE = "nothing found", "-"

# What is compared: heading, key, digits, and whether more of it is better.
MEASURES = (
    ("Dice", "dice", 3, True),
    ("HD95 (mm)", "hd95_mm", 1, False),
    ("lesions found", "found", 1, True),
    ("thin ones found", "thin_found", 1, True),
    ("false lesions", "false_lesions", 1, False),
)


def publish(results: Results, page: Path = PAGE, data: Path = JSON) -> None:
    """Keep the results beside the page, and put their tables into it."""
    ablation_runs.save(results, data)
    page.write_text(replaced(page.read_text(), results))


def replaced(text: str, results: Results) -> str:
    """The page with the tables of these results between its markers."""
    pattern = re.compile(f"{START}.*{END}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no {START} ... {END} in the page")
    return pattern.sub(lambda _: f"{START}\n{section(results)}\n{END}", text)


def section(results: Results) -> str:
    """All that the page says about these results, in Markdown."""
    parts = [
        status(results),
        "### Over all patients",
        summary_table(results),
        spread(results),
        "### Against each other",
        comparison_table(results),
        verdict(results),
        "### Patient by patient",
        patient_table(results),
        thresholds(results),
    ]
    return "\n\n".join(part for part in parts if part)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def one_line(run: Results) -> str:
    """What one run gave, for the terminal."""
    return (
        f"{run['recipe']}, without {run['held_out']}, seed {run['seed']}: Dice {run['dice']:.3f}, "
        f"HD95 {number(run['hd95_mm'], 1)}, {run['found']} of {run['lesions']} lesions, "
        f"{run['false_lesions']} false ones, {run['seconds']:.0f} s"
    )


def number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def status(results: Results) -> str:
    """How much of the plan is done, and where it was done."""
    plan, done = results["plan"], results["runs"]
    wanted = list(ablation_runs.planned(plan["seeds"]))
    found = len([run for run in wanted if run in ablation_runs.finished(results)])
    seeds = ", ".join(str(seed) for seed in plan["seeds"])
    planned = f"{len(RECIPES)} recipes, {len(PATIENTS)} patients, seeds {seeds}"
    if found < len(wanted):
        text = f"**Partial: {found} of {len(wanted)} planned runs are done** ({planned})."
    else:
        text = f"All {found} planned runs are done ({planned})."
    if done:
        keys = ("device", "threads", "torch", "provider")
        places = sorted({tuple(str(run[key]) for key in keys) for run in done})
        where = "; ".join(
            f"{device}, threads: {threads}, torch {torch}, provider {provider}"
            for device, threads, torch, provider in places
        )
        hours = sum(run["seconds"] for run in done) / 3600
        text += f" Trained on: {where}. {hours:.1f} hours of training."
        shares = [run["boundary_share"] for run in done if run["boundary_share"]]
        if shares:
            text += f" Where the boundary loss is used it takes {fmean(shares):.1%} of the time."
    return text


def runs_of(results: Results, recipe: str) -> list[Results]:
    return [run for run in results["runs"] if run["recipe"] == recipe]


def mean(values: list[float | None], digits: int) -> str:
    """The mean; of how many runs, where some found nothing and have no distance."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING if values else NONE
    text = f"{fmean(known):.{digits}f}"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)} runs)"


def share(runs: list[Results], part: str, whole: str) -> str:
    total = sum(run[whole] for run in runs)
    return f"{sum(run[part] for run in runs) / total:.0%}" if total else NONE


def summary_table(results: Results) -> str:
    head = ["loss", "epochs", "runs", "Dice", "HD95 (mm)", "lesions found", "thin lesions found"]
    rows = []
    for key, recipe in RECIPES.items():
        runs = runs_of(results, key)
        rows.append(
            [
                recipe.name,
                str(ablation_runs.epochs_of(key, results)),
                str(len(runs)),
                mean([run["dice"] for run in runs], 3),
                mean([run["hd95_mm"] for run in runs], 1),
                share(runs, "found", "lesions"),
                share(runs, "thin_found", "thin"),
                mean([run["false_lesions"] for run in runs], 1),
            ]
        )
    return table([*head, "false lesions per run"], rows)


def spread(results: Results) -> str:
    """How far the seeds of one recipe and patient lie apart: the measure for every difference."""
    parts = []
    for heading, key, digits, _ in MEASURES[:2]:
        variances = []
        for recipe in RECIPES:
            for held_out in PATIENTS:
                runs = [run for run in runs_of(results, recipe) if run["held_out"] == held_out]
                values = [run[key] for run in runs if run[key] is not None]
                if len(values) > 1:
                    variances.append(stdev(values) ** 2)
        if variances:
            parts.append(f"{heading} {math.sqrt(fmean(variances)):.{digits}f}")
    if not parts:
        return "No recipe has two seeds on one patient yet: the spread between seeds is unknown."
    return (
        "Standard deviation between seeds of the same recipe and patient, pooled over those with "
        f"at least two: {', '.join(parts)}."
    )


def pairs(results: Results, one: str, other: str) -> list[tuple[Results, Results]]:
    """The runs of two recipes that share patient and seed."""
    done = ablation_runs.finished(results)
    runs = [(run, Run(run.seed, run.held_out, other)) for run in done if run.recipe == one]
    return [(done[run], done[partner]) for run, partner in runs if partner in done]


def outcome(both: list[tuple[Results, Results]], key: str, more_is_better: bool) -> list[int]:
    """1, -1 or 0 for each pair: better, worse, equal. Nothing found is worse than any distance."""

    def goodness(run: Results) -> float:
        value = math.inf if run[key] is None else run[key]
        return value if more_is_better else -value

    return [(goodness(a) > goodness(b)) - (goodness(a) < goodness(b)) for a, b in both]


def comparison_table(results: Results) -> str:
    rows = []
    for one, other in COMPARISONS:
        both = pairs(results, one, other)
        row = [title(one), title(other), str(len(both))]
        for _, key, digits, more_is_better in MEASURES:
            known = [a[key] - b[key] for a, b in both if None not in (a[key], b[key])]
            if not known:
                row.append(NONE)
                continue
            text = f"{fmean(known):+.{digits}f}"
            if len(known) > 1:
                text += f" ± {stdev(known):.{digits}f}"
            better = outcome(both, key, more_is_better).count(1)
            row.append(f"{text}, better in {better}")
        rows.append(row)
    head = ["this", "minus this", "pairs", *(heading for heading, *_ in MEASURES)]
    text = (
        "Pairs share patient and seed, hence the first weights and the order of the slices. Mean "
        "difference ± standard deviation over the pairs, and in how many of them it is a better "
        "value (equal ones do not count)."
    )
    return f"{text}\n\n{table(head, rows)}"


def title(recipe: str) -> str:
    return RECIPES[recipe].name.removeprefix("+ ") + (", long" if RECIPES[recipe].long else "")


def verdict(results: Results) -> str:
    """What may be said: only where every pair of a complete set agrees, and even that is little."""
    wanted = len(PATIENTS) * len(results["plan"]["seeds"])
    incomplete = [c for c in COMPARISONS if len(pairs(results, *c)) < wanted]
    if incomplete:
        return "While runs are missing no conclusion is drawn."
    agreed = []
    for one, other in COMPARISONS:
        for heading, key, _, more_is_better in MEASURES:
            signs = set(outcome(pairs(results, one, other), key, more_is_better))
            if len(signs) == 1 and signs != {0}:
                side = "better" if signs == {1} else "worse"
                agreed.append(f"- {heading}: {title(one)} is {side} than {title(other)}.")
    asked = len(COMPARISONS) * len(MEASURES)
    if not agreed:
        return (
            f"In none of the {asked} comparisons above do all {wanted} pairs agree: no benefit and "
            "no harm of the boundary loss, or of a convention, is shown."
        )
    return "\n".join(
        [
            f"All {wanted} pairs agree in {len(agreed)} of the {asked} comparisons above; in the "
            "others nothing is shown. The pairs come from three patients only, and with "
            f"differences of chance {asked * 2 * 0.5**wanted:.1f} such agreements are expected:",
            "",
            *agreed,
        ]
    )


def patient_table(results: Results) -> str:
    """Every run: the values of the seeds side by side, in the order of the seeds."""
    done, seeds = ablation_runs.finished(results), results["plan"]["seeds"]
    rows = []
    for held_out in PATIENTS:
        for key, recipe in RECIPES.items():
            runs = [done.get(Run(seed, held_out, key)) for seed in seeds]
            known = [run for run in runs if run]

            def cell(field: str, digits: int = 0, runs: list[Results | None] = runs) -> str:
                return ", ".join(number(r[field], digits) if r else NONE for r in runs)

            def total(field: str, known: list[Results] = known) -> str:
                return f" of {known[0][field]}" if known else ""

            rows.append(
                [
                    held_out,
                    recipe.name,
                    str(ablation_runs.epochs_of(key, results)),
                    cell("dice", 3),
                    cell("hd95_mm", 1),
                    cell("found") + total("lesions"),
                    cell("thin_found") + total("thin"),
                    cell("false_lesions"),
                ]
            )
    head = ["left out", "loss", "epochs", "Dice", "HD95 (mm)", "lesions found"]
    return table([*head, "thin lesions found", "false lesions"], rows)


def thresholds(results: Results) -> str:
    """The trivial prediction's Dice, to hold the network's against."""
    dice = {run["held_out"]: run["threshold_dice"] for run in results["runs"]}
    known = ", ".join(f"{dice[name]:.3f} on {name}" for name in PATIENTS if name in dice)
    if not known:
        return ""
    return f"A grey-value threshold fitted to the other two patients has a Dice of {known}."
