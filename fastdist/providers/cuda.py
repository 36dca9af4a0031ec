"""Who answers for CUDA tensors: the compiled library, or Numba's CUDA where that has no CUDA.

Numba's kernels are registered as functions that look for Numba when the first CUDA tensor comes:
asking for a GPU at the import of a package would start CUDA in processes that never use it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from fastdist import ops

_registration: torch.library.Library | None = None  # Numba's kernels, where they answer


def compiled() -> bool:
    """Whether the compiled library is here and has CUDA kernels."""
    if _registration is not None:
        return _compiled
    return torch._C._dispatch_has_kernel_for_dispatch_key("fastdist::edt_out", "CUDA")


_compiled = False


def choose(name: str) -> None:
    """Let the provider chosen for the CPU have its say: ``numba`` answers on a GPU too."""
    global _registration, _compiled
    wanted = name == "numba" or not compiled()
    if wanted == (_registration is not None):
        return
    if _registration is not None:
        _registration._destroy()
        _registration = None
        return
    _compiled = compiled()
    registration = torch.library.Library("fastdist", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        for op in ops.PROVIDED:
            registration.impl(op, _numba(op), "CUDA", allow_override=True)
    _registration = registration


def _numba(op: str) -> Callable[..., Any]:
    def kernel(*arguments: Any) -> Any:
        from fastdist.providers import numba_cuda

        reason = numba_cuda.available()
        if reason is not None:
            raise RuntimeError(
                f"fastdist: nobody computes on CUDA tensors here. {why_nobody()}. Move the tensors "
                "to the CPU, or see python -m fastdist.info"
            )
        implementations: dict[str, Callable[..., Any]] = numba_cuda.IMPLEMENTATIONS
        return implementations[op](*arguments)

    return kernel


def why_nobody() -> str:
    """Why neither the compiled library nor Numba answers for CUDA tensors."""
    from fastdist.providers import numba_cuda

    return f"The compiled library {_why_not_compiled()}; Numba: {numba_cuda.available()}"


def _why_not_compiled() -> str:
    from fastdist.providers import extension

    if _compiled:
        return "is passed over, since the provider 'numba' is forced"
    return f"is not here ({extension.available() or 'it was built without CUDA'})"


def current() -> str | None:
    """The name of the provider that answers for CUDA tensors; None: nobody does."""
    if _registration is None:
        return "extension" if compiled() else None
    from fastdist.providers import numba_cuda

    return "numba" if numba_cuda.available() is None else None
