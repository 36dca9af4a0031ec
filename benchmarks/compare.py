"""``python -m benchmarks.compare BASE NEW``: what has got slower, beyond the spread of the runs.

Both files hold the same cases, measured at different times. What the other libraries of a case
gained or lost between the two runs is taken to be the machine's doing and is divided out. A case is
slower where the CPU time of ours has then grown by more than `--tolerance` and by more than both
runs' interquartile ranges together. Exit status 1 where one is; memory may not grow either.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from benchmarks.record import read

OURS = "fastdist"  # every entrant whose name begins so is ours


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare")
    parser.add_argument("base", help="JSON of the run to compare with")
    parser.add_argument("new", help="JSON of the run to judge")
    parser.add_argument("--tolerance", type=float, default=0.1, help="allowed share (0.1)")
    options = parser.parse_args(arguments)
    base, new = read(options.base)["cases"], read(options.new)["cases"]
    common = [
        name for name in new if name in base and base[name]["threads"] == new[name]["threads"]
    ]
    if not common:
        print("the two files have no case in common")
        return 2
    slower = 0
    for name in common:
        for library, change, spread in changes(base[name], new[name]):
            worse = change - 1 > max(options.tolerance, spread)
            slower += worse
            verdict = "SLOWER" if worse else "faster" if 1 - change > spread else "same"
            print(f"{verdict:8}{change:7.2f} +- {spread:4.2f}  {name}: {library}")
    print(f"{slower} got worse" if slower else f"nothing got worse in {len(common)} cases")
    return int(slower > 0)


def changes(base: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Each of our entrants: time now over time then, and the spread of that ratio."""
    if "memory" in base:
        used = [max(case["memory"][OURS]["beyond"], 2**21) for case in (base, new)]
        return [("bytes", used[1] / used[0], 0.05)]
    drift = _drift(base["libraries"], new["libraries"])
    found = []
    for library, after in new["libraries"].items():
        before = base["libraries"].get(library)
        if before is None or not library.startswith(OURS):
            continue
        spread = math.hypot(*(s["cpu_iqr"] / s["cpu"] for s in (before, after)))
        found.append((library, after["cpu"] / before["cpu"] / drift, spread))
    return found


def _drift(base: dict[str, Any], new: dict[str, Any]) -> float:
    """By which factor the machine was slower in the new run, seen at the other libraries."""
    ratios = [
        new[library]["cpu"] / base[library]["cpu"]
        for library in new
        if library in base and not library.startswith(OURS)
    ]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 1.0


if __name__ == "__main__":
    sys.exit(main())
