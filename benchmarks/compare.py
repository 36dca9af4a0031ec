"""``python -m benchmarks.compare BASE [BASE ...] [--new NEW]``: what got slower, beyond the spread.

The files hold the same cases, measured at different times; NEW is the newest in benchmarks/results
unless given. What the other libraries of a case gained or lost between two runs is taken to be the
machine's doing and is divided out. A case is slower where the time of ours (CPU time, or a GPU's
device time) has then grown by more than `--tolerance` and by more than both runs' interquartile
ranges together: its median, and its shortest call too, which a neighbour's work does not lengthen.
Runs differ by more than that where memory is taken anew from the system: with several BASE, which
say how much, a case has to be slower than in each of them. Exit status 1 where one is; memory may
not grow either.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.record import newest, read
from benchmarks.table import clock_of

OURS = "fastdist"  # every entrant whose name begins so is ours


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare")
    parser.add_argument("base", type=Path, nargs="+", help="JSON of the runs to compare with")
    parser.add_argument("--new", type=Path, help="JSON of the run to judge (the newest)")
    parser.add_argument("--tolerance", type=float, default=0.1, help="allowed share (0.1)")
    options = parser.parse_args(arguments)
    path = options.new or newest()
    if path is None or path.resolve() in [base.resolve() for base in options.base]:
        print("compare: name other files than the run to judge, which is --new or the newest")
        return 2
    bases, new = [read(base)["cases"] for base in options.base], read(path)["cases"]
    common = [
        name
        for name in new
        if all(name in base and base[name]["threads"] == new[name]["threads"] for base in bases)
    ]
    if not common:
        print("the files have no case in common")
        return 2
    slower = 0
    for name in common:
        against = [changes(base[name], new[name]) for base in bases]
        for library in (one for one in against[0] if all(one in found for found in against)):
            # Of the base runs the one in which it was slowest decides.
            change, spread = min(found[library] for found in against)
            worse = change - 1 > max(options.tolerance, spread)
            slower += worse
            verdict = "SLOWER" if worse else "faster" if 1 - change > spread else "same"
            print(f"{verdict:8}{change:7.2f} +- {spread:4.2f}  {name}: {library}")
    print(f"{slower} got worse" if slower else f"nothing got worse in {len(common)} cases")
    return int(slower > 0)


def changes(base: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """By our entrants: time now over time then, and the spread of that ratio.

    Of the medians' ratio and the shortest calls' the smaller one.
    """
    if "memory" in base:
        used = [max(case["memory"][OURS]["beyond"], 2**21) for case in (base, new)]
        return {"bytes": (used[1] / used[0], 0.05)}
    clock = clock_of(new)
    if "libraries" not in base or clock != clock_of(base):
        return {}
    libraries = [*base["libraries"].values(), *new["libraries"].values()]
    keys = [key for key in (clock, f"{clock}_min") if all(key in one for one in libraries)]
    drift = {key: _drift(base["libraries"], new["libraries"], key) for key in keys}
    found = {}
    for library, after in new["libraries"].items():
        before = base["libraries"].get(library)
        if before is None or OURS not in library:
            continue
        spread = math.hypot(*(s[f"{clock}_iqr"] / s[clock] for s in (before, after)))
        ratios = [after[key] / before[key] / drift[key] for key in keys]
        found[library] = (min(ratios), spread)
    return found


def _drift(base: dict[str, Any], new: dict[str, Any], clock: str) -> float:
    """By which factor the machine was slower in the new run: the median of the other libraries'."""
    ratios = [
        new[library][clock] / base[library][clock]
        for library in new
        if library in base and OURS not in library
    ]
    return median(ratios) if ratios else 1.0


if __name__ == "__main__":
    sys.exit(main())
