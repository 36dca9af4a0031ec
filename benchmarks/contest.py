"""Libraries timed in turns, so that a machine that drifts treats them alike.

A contest checks every entrant's result once, then visits the entrants round by round. Each call is
measured twice: by the clock on the wall and by the process's CPU time, which other people's work on
the same machine does not lengthen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

VISIT = 0.03  # seconds: short calls are repeated within a visit until this much has passed
VISIT_CALLS = 8
LONG = 1.0  # seconds of CPU time: so long a call counts from the first one on, not warmed up


@dataclass
class Entrant:
    """One library in one case; `check` gives the largest error of what `call` returned."""

    name: str
    call: Callable[[], Any]
    check: Callable[[Any], float] | None = None
    within: Callable[[], AbstractContextManager] = nullcontext  # entered outside the timed part
    tolerance: float = 1e-4
    exact: bool = True
    error: float | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def once(self) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        result = self.call()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        return result

    def first(self) -> None:
        """The call whose result is checked; it counts where it is too long to be repeated often."""
        with self.within():
            result = self.once()
            if self.check is not None:
                self.error = self.check(result)
                if self.exact and not self.error <= self.tolerance:
                    raise AssertionError(f"{self.name} is wrong by {self.error:g}")
            del result
        if self.cpu[0] < LONG:
            self.wall.clear()
            self.cpu.clear()

    def visit(self, budget: float) -> None:
        """One round's calls; none once `budget` seconds have been spent on this entrant."""
        if self.wall and sum(self.wall) + self.wall[-1] > budget:
            return
        with self.within():
            if not self.wall or self.wall[-1] < VISIT:
                self.call()  # caches hold the previous entrant's arrays
            end = time.perf_counter() + VISIT
            for _ in range(VISIT_CALLS):
                self.once()
                if time.perf_counter() > end:
                    break

    def summary(self) -> dict[str, Any]:
        """Medians and interquartile ranges in seconds."""
        return {
            "wall": median(self.wall),
            "wall_iqr": _iqr(self.wall),
            "cpu": median(self.cpu),
            "cpu_iqr": _iqr(self.cpu),
            "calls": len(self.wall),
            "max_error": self.error,
        }


def _iqr(samples: list[float]) -> float:
    if len(samples) < 2:
        return 0.0
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return high - low


@dataclass
class Case:
    """A contest and what is expected of it; `floors` says by which factor ours must win."""

    name: str
    task: str
    entrants: list[Entrant]
    voxels: int
    floors: dict[str, float] = field(default_factory=dict)  # other library -> smallest ratio
    ceiling: float | None = None  # largest allowed ns/voxel
    patience: float = float("inf")  # seconds for each peer, where ours matters more than they do
    details: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # peer -> how to install it

    @property
    def ours(self) -> Entrant:
        return self.entrants[0]

    def check(self) -> None:
        for entrant in self.entrants:
            entrant.first()

    def others(self, budget: float) -> None:
        """One round: everybody in turn, ours last, warm, ready for the call pytest times."""
        for entrant in [*self.entrants[1:], self.ours]:
            entrant.visit(budget if entrant is self.ours else min(budget, self.patience))

    def result(self) -> dict[str, Any]:
        """The JSON record."""
        libraries = {entrant.name: entrant.summary() for entrant in self.entrants}
        for summary in libraries.values():
            for clock in ("wall", "cpu"):
                summary[f"{clock}_ns_per_voxel"] = summary[clock] / self.voxels * 1e9
        ours = libraries[self.ours.name]
        ratios = {
            name: {clock: summary[clock] / ours[clock] for clock in ("wall", "cpu")}
            for name, summary in libraries.items()
            if name != self.ours.name
        }
        verdicts: dict[str, Any] = {
            name: {"wanted": wanted, **ratios[name], **_met(ratios[name], wanted)}
            for name, wanted in self.floors.items()
            if name in ratios
        }
        if self.ceiling is not None:
            reached = {clock: ours[f"{clock}_ns_per_voxel"] for clock in ("wall", "cpu")}
            met = {f"{clock}_met": reached[clock] <= self.ceiling for clock in reached}
            verdicts["ns/voxel"] = {"wanted": self.ceiling, **reached, **met}
        return {
            "task": self.task,
            "voxels": self.voxels,
            **self.details,
            "ours": self.ours.name,
            "libraries": libraries,
            "ratios": ratios,
            "floors": verdicts,
            "missing": self.missing,
        }


def _met(ratio: dict[str, float], wanted: float) -> dict[str, bool]:
    return {f"{clock}_met": value >= wanted for clock, value in ratio.items()}
