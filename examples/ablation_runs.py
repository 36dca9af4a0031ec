"""The runs of the ablation: what is compared, in which order, and the file that remembers them.

A recipe is a list of options of `python -m examples.lesions`: the ablation trains the demo's
network as the demo does, and differs from it only in what is named here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PATIENTS = ("07", "19", "26")
SEEDS = (1, 2)
EPOCHS = 16  # the demo's
LONG_EPOCHS = 32  # twice the demo's: rebalancing needs time, and may collapse in a short run

Results = dict[str, Any]


class Recipe(NamedTuple):
    """One way to train: its name, the demo's options, and whether its run is a long one."""

    name: str
    options: tuple[str, ...]
    long: bool = False


GDL = ("--loss", "gdl")
CONSTANT = ("--schedule", "constant", "--weight", "0.01", "--zero")  # the demo's recipe
REBALANCE = ("--schedule", "rebalance", "--weight", "0.99", "--zero")  # the paper's
RECIPES = {
    "gdl": Recipe("generalised Dice", GDL),
    "constant-shifted": Recipe("+ boundary, constant 0.01, shifted", (*CONSTANT, "shifted")),
    "constant-midpoint": Recipe("+ boundary, constant 0.01, midpoint", (*CONSTANT, "midpoint")),
    "gdl-long": Recipe("generalised Dice", GDL, long=True),
    "rebalance-shifted": Recipe(
        "+ boundary, rebalance to 0.99, shifted", (*REBALANCE, "shifted"), long=True
    ),
    "rebalance-midpoint": Recipe(
        "+ boundary, rebalance to 0.99, midpoint", (*REBALANCE, "midpoint"), long=True
    ),
}
COMPARISONS = (  # what is looked at, and what it is held against: always at the same length
    ("constant-shifted", "gdl"),
    ("constant-midpoint", "gdl"),
    ("rebalance-shifted", "gdl-long"),
    ("rebalance-midpoint", "gdl-long"),
    ("constant-midpoint", "constant-shifted"),
    ("rebalance-midpoint", "rebalance-shifted"),
)


class Run(NamedTuple):
    """One training: a seed, the patient who is left out, and the key of a recipe."""

    seed: int
    held_out: str
    recipe: str


def planned(seeds: Iterable[int]) -> Iterator[Run]:
    """All runs, seeds outermost: a set that is not finished is still a balanced one."""
    for seed in seeds:
        for held_out in PATIENTS:
            for recipe in RECIPES:
                yield Run(seed, held_out, recipe)


def new_results(seeds: Iterable[int], epochs: int, long_epochs: int) -> Results:
    """Results without any run yet."""
    lengths = {"epochs": epochs, "long_epochs": long_epochs}
    return {"plan": {"seeds": sorted(set(seeds))} | lengths, "runs": []}


def epochs_of(recipe: str, results: Results) -> int:
    """The length of the recipe's runs in this plan."""
    return results["plan"]["long_epochs" if RECIPES[recipe].long else "epochs"]


def finished(results: Results) -> dict[Run, Results]:
    """What the runs that are done gave."""
    runs = results["runs"]
    return {Run(run["seed"], run["held_out"], run["recipe"]): run for run in runs}


def load(path: Path) -> Results:
    return json.loads(path.read_text())


def save(results: Results, path: Path) -> None:
    """Write the results, one line per run, so that no moment leaves half a file behind."""
    lines = ",\n".join("  " + json.dumps(run, allow_nan=False) for run in results["runs"])
    text = f'{{\n "plan": {json.dumps(results["plan"])},\n "runs": [\n{lines}\n ]\n}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    os.replace(beside, path)


def open_results(path: Path, seeds: Iterable[int], epochs: int, long_epochs: int) -> Results:
    """What the file holds, its plan widened to these seeds; runs of other lengths do not mix."""
    results = new_results(seeds, epochs, long_epochs)
    if path.exists():
        old = load(path)
        if results["plan"] | {"seeds": None} != old["plan"] | {"seeds": None}:
            plan = old["plan"]
            raise SystemExit(
                f"{path}: its runs have {plan['epochs']} and {plan['long_epochs']} epochs, asked "
                f"for are {epochs} and {long_epochs}: name another file with --results"
            )
        old["plan"]["seeds"] = sorted({*old["plan"]["seeds"], *results["plan"]["seeds"]})
        results = old
    save(results, path)
    return results
