"""Libraries timed in turns, so that a machine that drifts treats them alike.

A contest checks every entrant's result once, then visits the entrants round by round. Here each
call is measured twice: by the clock on the wall and by the process's CPU time, which other people's
work on the same machine does not lengthen. `benchmarks.gpu.clock` has the entrants of a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from benchmarks.memory import peak_beyond

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
    exact: bool = True  # else its error is shown, and is no failure
    warm_up: bool = False  # its first call compiles or loads something: one more before it
    error: float | None = None
    peak: int | None = None  # bytes beyond those in use before, what it returns included
    samples: dict[str, list[float]] = field(default_factory=lambda: {"wall": [], "cpu": []})

    def once(self) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        result = self.call()
        self.samples["wall"].append(time.perf_counter() - wall)
        self.samples["cpu"].append(time.process_time() - cpu)
        return result

    def first(self) -> None:
        """The call whose result is checked; it counts where it is too long to be repeated often."""
        with self.within():
            if self.warm_up:
                self.call()
            result, self.peak = peak_beyond(self.once)
            self.judge(result)
        if self.samples["cpu"][0] < LONG:
            self.forget()

    def judge(self, result: Any) -> None:
        if self.check is not None:
            self.error = self.check(result)
            if self.exact and not self.error <= self.tolerance:
                raise AssertionError(f"{self.name} is wrong by {self.error:g}")

    def forget(self) -> None:
        for samples in self.samples.values():
            samples.clear()

    def spent(self, budget: float) -> bool:
        """Whether one more call would take this entrant beyond `budget` seconds."""
        wall = self.samples["wall"]
        return bool(wall) and sum(wall) + wall[-1] > budget

    def visit(self, budget: float) -> None:
        """One round's calls; none once `budget` seconds have been spent on this entrant."""
        if self.spent(budget):
            return
        wall = self.samples["wall"]
        with self.within():
            if not wall or wall[-1] < VISIT:
                self.call()  # caches hold the previous entrant's arrays
            end = time.perf_counter() + VISIT
            for _ in range(VISIT_CALLS):
                self.once()
                if time.perf_counter() > end:
                    break

    def summary(self) -> dict[str, Any]:
        """Medians, interquartile ranges and shortest times in seconds, by each clock."""
        found: dict[str, Any] = {}
        for clock, samples in self.samples.items():
            found[clock] = median(samples)
            found[f"{clock}_iqr"] = iqr(samples)
            found[f"{clock}_min"] = min(samples)
        calls = len(next(iter(self.samples.values())))
        found.update(calls=calls, max_error=self.error, peak_bytes=self.peak)
        return found if self.exact else {**found, "approximate": True}


def iqr(samples: list[float]) -> float:
    if len(samples) < 2:
        return 0.0
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return high - low


@dataclass
class Case:
    """A contest and what is expected of it; `floors` says by which factor ours must win."""

    name: str
    task: str
    entrants: list[Any]  # ours first
    voxels: int
    floors: dict[str, float] = field(default_factory=dict)  # other library -> smallest ratio
    ceiling: float | None = None  # largest allowed ns/voxel
    patience: float = float("inf")  # seconds for each peer, where ours matters more than they do
    beyond: str | None = None  # an entrant: what the others take more than it is of interest
    stretch: int = 1  # times the run's rounds and patience, where differences are small
    details: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # peer -> how to install it
    clock: str = "cpu"  # by which the libraries are compared
    failed: dict[str, str] = field(default_factory=dict)  # peer -> what went wrong

    @property
    def ours(self) -> Any:
        return self.entrants[0]

    def check(self) -> None:
        """First calls. A peer that fails or is wrong is left out and named; ours must not be."""
        self.ours.first()
        for peer in self.entrants[1:]:
            try:
                peer.first()
            except Exception as error:
                self.failed[peer.name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        self.entrants = [one for one in self.entrants if one.name not in self.failed]

    def round(self, budget: float) -> None:
        """Everybody in turn, ours last."""
        self.others(budget)
        self.ours.visit(budget * self.stretch)

    def others(self, budget: float) -> None:
        for entrant in self.entrants[1:]:
            as_ours = entrant.name == self.beyond  # all rounds
            entrant.visit(float("inf") if as_ours else min(budget * self.stretch, self.patience))

    def before_ours(self, budget: float) -> None:
        """A round less one call of ours, which pytest-benchmark makes and times.

        Ours is visited all the same where calls are short, to be as warm as the others; where
        shortest calls are compared nobody has more of them.
        """
        if self.beyond is None:
            self.round(budget)
        else:
            self.others(budget)

    def result(self) -> dict[str, Any]:
        """The JSON record."""
        clocks = list(self.ours.samples)
        libraries = {entrant.name: entrant.summary() for entrant in self.entrants}
        for summary in libraries.values():
            for clock in clocks:
                summary[f"{clock}_ns_per_voxel"] = summary[clock] / self.voxels * 1e9
        ours = libraries[self.ours.name]
        ratios = {
            name: {clock: summary[clock] / ours[clock] for clock in clocks}
            for name, summary in libraries.items()
            if name != self.ours.name
        }
        verdicts: dict[str, Any] = {}
        for name, wanted in self.floors.items():
            if name in ratios:
                met = {f"{clock}_met": ratios[name][clock] >= wanted for clock in clocks}
                verdicts[name] = {"wanted": wanted, **ratios[name], **met}
        if self.ceiling is not None:
            reached = {clock: ours[f"{clock}_ns_per_voxel"] for clock in clocks}
            met = {f"{clock}_met": reached[clock] <= self.ceiling for clock in clocks}
            verdicts["ns/voxel"] = {"wanted": self.ceiling, **reached, **met}
        return {
            "task": self.task,
            "voxels": self.voxels,
            **self.details,
            **self._added(libraries),
            "ours": self.ours.name,
            "clock": self.clock,
            "libraries": libraries,
            "ratios": ratios,
            "floors": verdicts,
            "missing": self.missing,
            "failed": self.failed,
        }

    def _added(self, libraries: dict[str, Any]) -> dict[str, Any]:
        """What each entrant takes more than `beyond`, as a share of it: shortest against shortest.

        A machine's noise only adds.
        """
        if self.beyond not in libraries:
            return {}
        base = libraries[self.beyond]
        added = {
            name: {
                clock: one[f"{clock}_min"] / base[f"{clock}_min"] - 1 for clock in self.ours.samples
            }
            for name, one in libraries.items()
            if name != self.beyond
        }
        return {"beyond": self.beyond, "added": added}
