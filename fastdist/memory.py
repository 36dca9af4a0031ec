"""Memory that cannot be had: one error for it, on every device and from every provider."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


def reported(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, whose want of memory is a `torch.OutOfMemoryError` with the bytes asked for.

    torch itself says so on a GPU; its allocator for the CPU raises a RuntimeError, NumPy and the
    compiled library a MemoryError.
    """

    @functools.wraps(function)
    def reporting(*arguments: _P.args, **named: _P.kwargs) -> _R:
        try:
            return function(*arguments, **named)
        except torch.OutOfMemoryError:
            raise
        except (MemoryError, RuntimeError) as error:
            text = _as_text(error)
            if text is None:
                raise
            raise torch.OutOfMemoryError(text) from error

    return reporting


def _as_text(error: Exception) -> str | None:
    """What to say where this is want of memory that has another name, else None."""
    text = str(error)
    if "out of memory" in text and text.startswith("fastdist"):  # such as a launch's
        return text
    if isinstance(error, MemoryError):
        return f"fastdist: out of memory: {text}"
    asked = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", text)
    if asked is None:
        return None
    return f"fastdist: out of memory: tried to allocate {asked[1]} bytes on the CPU"
