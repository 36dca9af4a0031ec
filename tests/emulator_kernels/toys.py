"""Compiles the toy kernels with the emulator, and calls them: a library, or a sanitized program."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "build" / "emulator_kernels"
SCHEDULES = ("forward", "reverse", "shuffled")


def _compile(output: Path, *, sanitize: bool) -> Path:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import compile_emulator
        import compile_extension
    finally:
        sys.path.pop(0)
    sources = [HERE / "toys.cpp", *compile_emulator.engine()]
    steps = compile_emulator.plan(sources, sanitize=sanitize)
    link = [*compile_extension._compiler(), *(str(step.target) for step in steps), "-ldl"]
    link += ["-fsanitize=address,undefined"] if sanitize else ["-shared"]
    compile_extension.make(steps, link, output)
    return output


@cache
def library() -> ctypes.CDLL:
    """The toys, without sanitizers."""
    found = ctypes.CDLL(str(_compile(BUILT / "toys.so", sanitize=False)))
    for name in ("faulty", "sum", "scan", "transpose_bits", "histogram", "words", "poison"):
        getattr(found, f"toys_{name}").restype = ctypes.c_char_p
    for name, arguments in (
        ("misrounded", [ctypes.c_int64, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64)]),
        ("quotient", [ctypes.c_int64, ctypes.c_int64]),
    ):
        getattr(found, f"toys_{name}").argtypes = arguments
        getattr(found, f"toys_{name}").restype = ctypes.c_int64
    found.fastdist_emulator_set_schedule.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
    found.fastdist_emulator_set_schedule.restype = ctypes.c_char_p
    found.fastdist_emulator_counters.restype = ctypes.c_char_p
    return found


@cache
def sanitized() -> Path:
    """A program of the toys with ASan and UBSan."""
    return _compile(BUILT / "toys_sanitized", sanitize=True)


def set_schedule(name: str, seed: int = 0) -> None:
    reason = library().fastdist_emulator_set_schedule(name.encode(), seed)
    if reason is not None:
        raise ValueError(reason.decode())


def call(name: str, *arguments: int | np.ndarray) -> None:
    """Launch a right kernel, or poison; RuntimeError where the emulator finds fault with it."""
    values = [
        ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(a)
        for a in arguments
    ]
    error = getattr(library(), f"toys_{name}")(*values)
    if error is not None:
        raise RuntimeError(error.decode())


def launch_faulty(
    name: str, blocks: int, threads: int, shared_bytes: int, out: np.ndarray | None
) -> None:
    """Launch a faulty kernel; RuntimeError where the emulator finds fault with it."""
    error = library().toys_faulty(
        name.encode(),
        ctypes.c_int64(blocks),
        ctypes.c_int(threads),
        ctypes.c_int64(shared_bytes),
        ctypes.c_void_p(None if out is None else out.ctypes.data),
    )
    if error is not None:
        raise RuntimeError(error.decode())


def faulty(name: str, blocks: int = 3, threads: int = 64) -> np.ndarray:
    """Launch a faulty kernel, 4 bytes of shared memory a thread, and return its output [n]."""
    out = np.empty(blocks * threads, np.int32)
    call("poison", out, out.nbytes)
    launch_faulty(name, blocks, threads, threads * 4, out)
    return out


def run_sanitized(name: str, schedule: str) -> subprocess.CompletedProcess:
    """The faulty kernel of this name, or all right ones, in a process of its own."""
    # Leaks: what a thread that was abandoned had allocated. Not ours to look for.
    environment = os.environ | {
        "FASTDIST_EMULATOR_SCHEDULE": schedule,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=0",
    }
    return subprocess.run(
        [sanitized(), name], env=environment, capture_output=True, text=True, check=False
    )
