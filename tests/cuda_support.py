"""What the tests of the GPU share: where they run, when they are skipped, how streams are used.

FASTDIST_REQUIRE_CUDA  1: a test that needs a GPU fails where there is none, instead of a skip
FASTDIST_REHEARSE      1: it runs on CPU tensors instead, with stand-ins for streams and graphs.
                       That proves the test itself, never anything about a GPU
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from fastdist import providers

REQUIRE_CUDA = os.environ.get("FASTDIST_REQUIRE_CUDA") == "1"
REHEARSE = os.environ.get("FASTDIST_REHEARSE") == "1"
#: The device of the tests that need a GPU.
DEVICE = "cpu" if REHEARSE else "cuda"
NO_GPU = "needs an NVIDIA GPU: torch sees no CUDA device"


def usable() -> bool:
    """Whether tests that need a GPU can run here."""
    return REHEARSE or torch.cuda.is_available()


# For a module's `pytestmark` and for a parameter's `marks`.
needs_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not usable() and not REQUIRE_CUDA, reason=NO_GPU),
]
#: On the CPU a wrong label or spacing is an error; a GPU's host code, the emulator's too, goes on.
not_an_error_on_a_gpu = pytest.mark.skipif(
    REHEARSE and os.environ.get("FASTDIST_PROVIDER") != "emulator",
    reason="rehearsed by the emulator only: on the CPU it is an error",
)
needs_two_gpus = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.device_count() < 2, reason="needs two GPUs"
)
#: Once on the CPU and, where there is one, once on the GPU.
on_both_devices = pytest.mark.parametrize(
    "device", [*([] if REHEARSE else ["cpu"]), pytest.param(DEVICE, marks=needs_cuda)]
)


# ------------------------------------------------------------------ the same on the CPU


def moved(value: Any, device: str) -> Any:
    """Tensors, also within tuples, lists and dicts, on this device; leaves stay leaves."""
    if isinstance(value, Tensor):
        return value.detach().to(device).requires_grad_(value.requires_grad)
    if isinstance(value, tuple | list):
        return type(value)(moved(part, device) for part in value)
    if isinstance(value, dict):
        return {key: moved(part, device) for key, part in value.items()}
    return value


def answer(function: Callable, *arguments: Any, **options: Any) -> Any:
    """What the device under test answers, brought back to the CPU."""
    return moved(function(*moved(arguments, DEVICE), **moved(options, DEVICE)), "cpu")


def on_the_cpu(function: Callable, *arguments: Any, **options: Any) -> Any:
    """What the CPU's provider answers; in a rehearsal the fastest one, whichever rehearses."""
    fastest = next(name for name in providers.available() if name != "emulator")
    with providers.forced(fastest) if REHEARSE else contextlib.nullcontext():
        return function(*moved(arguments, "cpu"), **moved(options, "cpu"))


def parts(result: Any) -> Sequence[Tensor]:
    """A result of one or several tensors as several."""
    return result if isinstance(result, tuple | list) else (result,)


def assert_same_bits(got: Any, expected: Any) -> None:
    """Equal dtypes, shapes and bits; NaN equals NaN. What differs is counted."""
    for mine, theirs in zip(parts(got), parts(expected), strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        torch.testing.assert_close(mine.cpu(), theirs.cpu(), rtol=0, atol=0, equal_nan=True)


def assert_near(got: Tensor, expected: Tensor, relative: float) -> None:
    """Within `relative` of the largest expected magnitude, in float64."""
    mine, theirs = got.detach().cpu().double(), expected.detach().cpu().double()
    assert mine.shape == theirs.shape
    largest = theirs[theirs.isfinite()].abs().max().item() if theirs.isfinite().any() else 0.0
    torch.testing.assert_close(mine, theirs, rtol=0, atol=relative * largest, equal_nan=True)


def with_gradient(
    function: Callable[[Tensor], Tensor], logits: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Value of `function(logits)`, and the gradient of its total weighted by 0.5 to 2, on device.

    `scale` keeps gradients that are divided by many voxels from the subnormals of half precision.
    """
    leaf = logits.detach().requires_grad_()
    value = function(leaf)
    weights = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype, device=value.device)
    ((value * weights.view(value.shape)).sum() * scale).backward()
    return value.detach(), leaf.grad


# ------------------------------------------------------------------ streams, graphs, memory


class _NoStream:
    """A stream's methods, for the rehearsal."""

    def wait_stream(self, other: Any) -> None:
        pass

    def synchronize(self) -> None:
        pass


def new_stream() -> Any:
    """A stream beside the current one."""
    return _NoStream() if REHEARSE else torch.cuda.Stream()


def current_stream() -> Any:
    """Torch's current stream."""
    return _NoStream() if REHEARSE else torch.cuda.current_stream()


def on(stream: Any) -> AbstractContextManager:
    """Within the block the stream is torch's current one."""
    return contextlib.nullcontext() if REHEARSE else torch.cuda.stream(stream)


def keep_busy(milliseconds: float) -> None:
    """The current stream does nothing else for about this long."""
    if not REHEARSE:
        torch.cuda._sleep(int(milliseconds * 1.5e6))  # clocks, of some 1.5 to 2 GHz


@contextlib.contextmanager
def no_synchronisation() -> Iterator[None]:
    """Within the block torch raises where the host would wait for the device.

    It sees what goes through torch; `Captured` sees what the library itself asks of the driver.
    """
    if REHEARSE:
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Captured:
    """A function's work recorded as a CUDA graph; `outputs` are written anew by each replay."""

    def __init__(self, function: Callable[[], Sequence[Tensor]]) -> None:
        self._function = function
        if REHEARSE:
            self.outputs = [part.clone() for part in function()]
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # what happens once, at first use, is no part of the graph
                function()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.outputs = list(function())

    def replay(self) -> None:
        if REHEARSE:
            for kept, new in zip(self.outputs, self._function(), strict=True):
                kept.copy_(new)
        else:
            self._graph.replay()


def needs_memory(gigabytes: float) -> None:
    """Skip where the GPU has less free memory than this."""
    if REHEARSE:
        return
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    if free < gigabytes * 1e9:
        pytest.skip(f"needs {gigabytes} GB of free GPU memory: {free / 1e9:.1f} GB are")


def peak_memory(function: Callable[[], Any]) -> int:
    """Bytes of GPU memory in use at the worst moment of a call beyond those before it."""
    function()
    if REHEARSE:
        return 0
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = function()
    torch.cuda.synchronize()
    del result
    return torch.cuda.max_memory_allocated() - before
