"""Time on a device: CUDA events around a few calls, over inputs that have left the L2 cache.

Three clocks, medians of several samples each. ``device`` is what the stream needed for one call:
events around a handful of calls that the host has queued behind a short sleep, so that the host's
pace does not count; a library that waits for the device in between cannot be queued, and its
waiting counts, as it does in training. ``host`` is when a single call returns to Python; ``wall``
when its result is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import torch

from benchmarks.contest import Entrant

SAMPLE = 1e-3  # seconds of device time that a sample of several calls should have
CALLS = 16  # at most that many calls a sample
COPIES = 64  # at most that many copies of a working set
BEYOND_CACHE = 3  # working sets together exceed the L2 cache by this factor
CYCLES = 2e9  # per second of sleep: a little more than GPUs run at


class Cuda:
    """The clock of the current GPU."""

    kind = "cuda"

    def __init__(self) -> None:
        self.cache = torch.cuda.get_device_properties("cuda").L2_cache_size

    def wait(self) -> None:
        torch.cuda.synchronize()

    def device_seconds(self, calls: list[Callable[[], Any]], host: float) -> float:
        """Seconds a call; `host` is about how long it takes the host to issue one."""
        start = torch.cuda.Event(enable_timing=True)
        stop = torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        torch.cuda._sleep(int(CYCLES * min(0.01, 5e-5 + 1.5 * host * len(calls))))
        start.record()
        for call in calls:
            call()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1e3 / len(calls)

    def peak_beyond(self, call: Callable[[], Any]) -> tuple[Any, int]:
        """What the call returns, and the device bytes in use at most beyond those before."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call()
        torch.cuda.synchronize()
        return result, torch.cuda.max_memory_allocated() - before


class Host:
    """Its stand-in for rehearsals on CPU tensors."""

    kind = "cpu"
    cache = 2**12

    def wait(self) -> None:
        pass

    def device_seconds(self, calls: list[Callable[[], Any]], host: float) -> float:
        start = time.perf_counter()
        for call in calls:
            call()
        return (time.perf_counter() - start) / len(calls)

    def peak_beyond(self, call: Callable[[], Any]) -> tuple[Any, None]:
        return call(), None


Clock = Cuda | Host


def copies(clock: Clock, working_set: int) -> int:
    """How many copies of so many bytes it takes to find none of them in the cache again."""
    return max(1, min(COPIES, ceil(BEYOND_CACHE * clock.cache / max(1, working_set))))


@dataclass
class DeviceEntrant(Entrant):
    """One library on the device; `call` takes the number of the working set it is to use."""

    call: Callable[[int], Any] = lambda slot: None
    clock: Clock = field(default_factory=Host)
    slots: int = 1
    repeats: int = 1  # calls that one `call` stands for: a graph replays several
    samples: dict[str, list[float]] = field(
        default_factory=lambda: {"device": [], "host": [], "wall": []}
    )
    _slot: int = 0

    def _next(self) -> Any:
        self._slot = (self._slot + 1) % self.slots
        return self.call(self._slot)

    def first(self) -> None:
        self._next()  # compiles, loads, fills the allocator's caches
        start = time.perf_counter()
        result, self.peak = self.clock.peak_beyond(self._next)
        seconds = time.perf_counter() - start
        self.judge(result)
        del result
        if seconds > 1:  # too long to be repeated often
            for samples in self.samples.values():
                samples.append(seconds / self.repeats)

    def visit(self, budget: float) -> None:
        """One sample by each clock, after a call that is not counted."""
        if self.spent(budget):
            return
        if not self.samples["wall"]:
            self._next()
        self.clock.wait()
        start = time.perf_counter()
        self._next()
        host = time.perf_counter() - start
        self.clock.wait()
        wall = time.perf_counter() - start
        calls = [self._next] * max(1, min(CALLS, ceil(SAMPLE / max(wall, 1e-6))))
        device = self.clock.device_seconds(calls, host)
        for name, seconds in (("device", device), ("host", host), ("wall", wall)):
            self.samples[name].append(seconds / self.repeats)


@dataclass
class HostEntrant(DeviceEntrant):
    """A library that knows no device: by the host's clock, transfers not counted."""

    def first(self) -> None:
        start = time.perf_counter()
        result = self._next()
        seconds = time.perf_counter() - start
        self.judge(result)
        for samples in self.samples.values():
            samples.append(seconds)

    def visit(self, budget: float) -> None:
        if self.spent(budget):
            return
        start = time.perf_counter()
        self._next()
        seconds = time.perf_counter() - start
        for samples in self.samples.values():
            samples.append(seconds)


def graph(name: str, entrant: DeviceEntrant) -> DeviceEntrant | None:
    """The same calls captured in a CUDA graph and replayed: no Python, no launches in between.

    None on a CPU. The capture fails where a call synchronises.
    """
    if entrant.clock.kind != "cuda":
        return None
    calls = min(CALLS, max(2, entrant.slots))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        entrant.call(0)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        for slot in range(calls):
            result = entrant.call(slot % entrant.slots)

    def replay(slot: int) -> Any:
        captured.replay()
        return result

    return DeviceEntrant(name, call=replay, check=entrant.check, clock=entrant.clock, repeats=calls)
