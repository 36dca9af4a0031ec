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

from fastdist.providers import stand_in

NAME = "emulator"
DISPATCH_KEY = stand_in.DISPATCH_KEY
NAMESPACE = "fastdist_emulator"
SCHEDULES = ("forward", "reverse", "shuffled")
LIBRARY = Path(
    os.environ.get("FASTDIST_EMULATOR_LIBRARY") or Path(__file__).parent.parent / "_emulator.so"
)

_HOW = "python scripts/compile_emulator.py makes it"
_scheduled: tuple[str, int] = ("", 0)  # the schedule in force; "": the environment's


@cache
def available() -> str | None:
    """Load the library, once; None where that worked, else the reason why not."""
    return stand_in.load(LIBRARY, NAMESPACE, _HOW)


def __getattr__(name: str) -> dict[str, Callable[..., Any]]:
    """``IMPLEMENTATIONS``, which exist once the library is loaded."""
    if name != "IMPLEMENTATIONS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _library()
    return stand_in.implementations(NAMESPACE)


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
