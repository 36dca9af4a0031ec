"""The provider ``emulator``: the CUDA kernels' own source, compiled as C++ and run on the CPU.

For tests only: slow, and so strict that what passes here has no barrier missing that a schedule
can tell (``csrc/emulator``). ``python scripts/compile_emulator.py`` makes the library;
``FASTDIST_EMULATOR_LIBRARY`` names another one, such as one with sanitizers.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fastdist import ops

NAME = "emulator"
DISPATCH_KEY = "CPU"
NAMESPACE = "fastdist_emulator"
SCHEDULES = ("forward", "reverse", "shuffled")
LIBRARY = Path(
    os.environ.get("FASTDIST_EMULATOR_LIBRARY") or Path(__file__).parent.parent / "_emulator.so"
)

_HOW = "python scripts/compile_emulator.py makes it"
_schemas: torch.library.Library | None = None  # of the namespace, while the process lives
_scheduled: tuple[str, int] = ("", 0)  # the schedule in force; "": the environment's


@cache
def available() -> str | None:
    """Load the library, once; None where that worked, else the reason why not."""
    if not LIBRARY.exists():
        return f"there is no {LIBRARY.name}: {_HOW}"
    _define()
    try:
        torch.ops.load_library(LIBRARY)
    except OSError as error:
        return f"the emulator {LIBRARY} does not load: {error} ({_HOW} anew)"
    missing = [op for op in ops.PROVIDED if not _answers(op)]
    if missing:
        return f"the emulator {LIBRARY} has no {', '.join(missing)}: {_HOW} anew"
    return None


def _define() -> None:
    """The schemas of ``fastdist::*`` in the emulator's namespace."""
    global _schemas
    if _schemas is not None:
        return
    _schemas = torch.library.Library(NAMESPACE, "DEF")
    for op in ops.PROVIDED:
        _schemas.define(op + ops.SCHEMAS[op])
        # Autograd is dealt with above, where the ops of `fastdist` call these.
        _schemas.impl(op, torch.library.fallthrough_kernel, "Autograd")


def _answers(op: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"{NAMESPACE}::{op}", DISPATCH_KEY)


def __getattr__(name: str) -> dict[str, Callable[..., Any]]:
    """``IMPLEMENTATIONS``, which exist once the library is loaded."""
    if name != "IMPLEMENTATIONS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _library()
    return {op: getattr(getattr(torch.ops, NAMESPACE), op).default for op in ops.PROVIDED}


@cache
def _library() -> ctypes.CDLL:
    reason = available()
    if reason is not None:
        raise RuntimeError(f"the provider {NAME!r} is not available: {reason}")
    library = ctypes.CDLL(str(LIBRARY))
    library.fastdist_emulator_set_schedule.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
    library.fastdist_emulator_set_schedule.restype = ctypes.c_char_p
    library.fastdist_emulator_reset_counters.restype = None
    library.fastdist_emulator_counters.restype = ctypes.c_char_p
    return library


def _set_schedule(name: str, seed: int) -> None:
    global _scheduled
    reason = _library().fastdist_emulator_set_schedule(name.encode(), seed)
    if reason is not None:
        raise ValueError(reason.decode())
    _scheduled = (name, seed)


@contextlib.contextmanager
def schedule(name: str, seed: int = 0) -> Iterator[None]:
    """Within the block threads and blocks take their turns in this order, in every launch.

    Parameters
    ----------
    name : str
        ``"forward"``, ``"reverse"`` or ``"shuffled"``.
    seed : int
        Of ``"shuffled"``: the same one gives the same orders again.
    """
    previous = _scheduled
    _set_schedule(name, seed)
    try:
        yield
    finally:
        _set_schedule(*previous)


def counters() -> dict[str, int]:
    """What the kernels counted (``FASTDIST_COUNT``) since the last reset, by name."""
    return json.loads(_library().fastdist_emulator_counters())


def reset_counters() -> None:
    """Set all counters to zero."""
    _library().fastdist_emulator_reset_counters()
