"""Whether Numba can use the GPU that torch has found: it is asked to compile for it.

Numba says that CUDA is available where it finds a driver and NVVM. Whether its front end works with
the NumPy that is here, and whether the driver takes what NVVM makes, shows when a kernel is
compiled and loaded.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch


@cache
def unusable() -> str | None:
    """Why kernels cannot be compiled for the current GPU, or not be loaded; None where they can."""
    try:
        from numba import cuda

        if not cuda.is_available():
            reason = cuda.cuda_error() or "a part of the CUDA toolkit (NVVM) was not found"
            return f"Numba cannot use the CUDA device: {reason} (pip install numba-cuda)"
    except Exception as error:  # whatever a driver or a broken installation may come up with
        return f"Numba cannot use the CUDA device: {_line(error)} (pip install numba-cuda)"
    return cannot_compile(torch.cuda.get_device_capability()) or _cannot_load()


def cannot_compile(capability: tuple[int, int]) -> str | None:
    """Why Numba makes no PTX for GPUs of this compute capability; None where it does.

    This needs no GPU.
    """
    try:
        from numba import cuda

        with _names_that_numba_cuda_asks_for():
            cuda.compile_ptx(_kernel(cuda), _signature(), cc=capability)
    except Exception as error:
        return f"Numba cannot compile for the CUDA device: {_line(error)} ({_versions()})"
    return None


def _cannot_load() -> str | None:
    """Why the driver does not take what Numba compiles, such as an NVVM newer than itself."""
    try:
        from numba import cuda

        with cuda.gpus[torch.cuda.current_device()]:
            cuda.jit(_signature())(_kernel(cuda))
    except Exception as error:
        return f"the CUDA driver does not load what Numba compiles: {_line(error)} ({_versions()})"
    return None


def _kernel(cuda: Any) -> Callable[..., None]:
    """A kernel of what the others are made of: a loop over the grid, arrays and their sizes."""

    def scaled(values, scale, out):  # type: ignore[no-untyped-def]
        for e in range(cuda.grid(1), values.size, cuda.gridsize(1)):
            out[e] = values[e] * scale

    return scaled


def _signature() -> tuple[Any, ...]:
    from numba import types

    numbers = types.Array(types.float64, 1, "C")
    return numbers, types.float64, numbers


@contextlib.contextmanager
def _names_that_numba_cuda_asks_for() -> Iterator[None]:
    """Give numba-cuda the names of NumPy without which it compiles nothing.

    Where it first compiles, numba-cuda up to 0.30.4 registers an implementation of
    ``numpy.row_stack``, which no kernel uses and NumPy 2.5 has no more. The name is there for that
    long and stands for a function of its own, since ``vstack`` has its implementation already.
    """
    missing = [name for name in ("row_stack",) if not hasattr(np, name)]
    for name in missing:
        setattr(np, name, lambda arrays: np.vstack(arrays))
    try:
        yield
    finally:
        for name in missing:
            delattr(np, name)


def _line(error: Exception) -> str:
    """The exception in one line: of Numba's pages the first says where and the last what it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' ... '.join(dict.fromkeys(lines[:1] + lines[-1:]))}"[:300]


def _versions() -> str:
    found = []
    for name in ("numba-cuda", "numba", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)
