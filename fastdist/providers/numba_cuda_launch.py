"""How kernels of the provider ``numba`` are launched for CUDA tensors: stream, device, memory.

This and ``numba_cuda_probe`` are all that knows of Numba's driver. A launch goes to torch's current
stream of the tensors' device; tensors are passed as flat arrays that share their memory, with no
stream named, so that Numba has nothing to wait for. Neither synchronises: a launch can be captured
in a CUDA graph, once the kernel has been compiled and loaded by a launch outside of it.

With NUMBA_ENABLE_CUDASIM=1 Numba runs kernels in Python instead. Then tensors on the CPU are served
here, for the tests; those on a GPU are not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fastdist.providers import numba_cuda_probe

#: launch(kernel, work, *arguments): a kernel over this many pieces of work.
Launch = Callable[..., None]

_THREADS = 256
_FEWEST_BLOCKS = 128  # with fewer Numba warns of a GPU that is not filled
_MOST_BLOCKS = 1 << 16  # a thread's first piece of work fits 32 bits; loops do the rest
_SIMULATED = 2, 3  # blocks, and threads, each of which is a thread of the host

_SIMULATES = "NUMBA_ENABLE_CUDASIM is set: Numba simulates CUDA on the CPU"

_TYPES = {
    torch.uint8: "|u1",
    torch.int32: "<i4",
    torch.int64: "<i8",
    torch.float32: "<f4",
    torch.float64: "<f8",
}


def simulating() -> bool:
    """Whether Numba was told to run CUDA kernels in Python."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def unavailable() -> str | None:
    """Why kernels cannot be launched on a GPU here; None where they can.

    Numba is imported only where torch has found a GPU.
    """
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed: pip install numba numba-cuda"
    if simulating():
        return _SIMULATES
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    return numba_cuda_probe.unusable()


@contextlib.contextmanager
def on(device: torch.device) -> Iterator[Launch]:
    """Within the block, what launches kernels on this device's current stream."""
    if device.type == "cpu" and simulating():
        yield _simulate
        return
    reason = _SIMULATES if simulating() else numba_cuda_probe.unusable()
    if reason is not None:
        raise RuntimeError(f"fastdist: {reason}")
    from numba import cuda

    index = torch.cuda.current_device() if device.index is None else device.index
    # Both have a current device of their own. Numba takes the context that it finds current in
    # this thread, which in a new thread need not be the tensors'.
    with torch.cuda.device(index), cuda.gpus[index]:
        pointer = torch.cuda.current_stream(index).cuda_stream
        stream = cuda.external_stream(pointer) if pointer else cuda.legacy_default_stream()

        def launch(kernel: Any, work: int, *arguments: Any) -> None:
            blocks = min(max(-(-work // _THREADS), _FEWEST_BLOCKS), _MOST_BLOCKS)
            kernel[blocks, _THREADS, stream](*[_argument(cuda, value) for value in arguments])

        yield launch


class _Memory:
    """A tensor's memory as a flat array, by the CUDA array interface."""

    def __init__(self, tensor: Tensor) -> None:
        assert tensor.is_contiguous()
        self.tensor = tensor  # kept alive
        self.__cuda_array_interface__ = {
            "version": 2,
            "shape": (tensor.numel(),),
            "strides": None,
            "typestr": _TYPES[tensor.dtype],
            "data": (tensor.data_ptr(), False),
        }


def _argument(cuda: Any, value: Any) -> Any:
    return cuda.as_cuda_array(_Memory(value), sync=False) if isinstance(value, Tensor) else value


def _simulate(kernel: Any, work: int, *arguments: Any) -> None:
    kernel[_SIMULATED](
        *[
            value.detach().view(-1).numpy() if isinstance(value, Tensor) else value
            for value in arguments
        ]
    )
