"""The provider ``ptx``: what nvcc makes of the CUDA kernels, executed on the CPU (``tools/ptx``).

For tests and counts only. ``python scripts/compile_ptx.py`` makes the library, which takes nvcc but
no GPU; ``FASTDIST_PTX_LIBRARY`` names another one, ``FASTDIST_PTX_ARCH`` the architecture whose PTX
is executed (default 9.0), ``FASTDIST_PTX_SHARED_BYTES`` the shared memory of a block. A kernel's
fault is a RuntimeError that names kernel, thread, PTX line and source line. ptxas, which makes
machine code of PTX, and the GPU itself have no part in it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fastdist.providers import stand_in

NAME = "ptx"
DISPATCH_KEY = stand_in.DISPATCH_KEY
NAMESPACE = "fastdist_ptx"
LIBRARY = Path(os.environ.get("FASTDIST_PTX_LIBRARY") or Path(__file__).parent.parent / "_ptx.so")

_HOW = "python scripts/compile_ptx.py makes it"
_races = os.environ.get("FASTDIST_PTX_RACES") != "0"


@cache
def available() -> str | None:
    """Load the library and translate its kernels, once; None where that worked, else why not."""
    reason = stand_in.load(LIBRARY, NAMESPACE, _HOW)
    if reason is None:
        said = ctypes_of(LIBRARY).fastdist_ptx_open(0)
        reason = f"{LIBRARY}: {said.decode()}" if said else None
    return reason


def __getattr__(name: str) -> dict[str, Callable[..., Any]]:
    """``IMPLEMENTATIONS``, which exist once the library is loaded."""
    if name != "IMPLEMENTATIONS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    library()
    return stand_in.implementations(NAMESPACE)


@cache
def library() -> ctypes.CDLL:
    """The functions of tools/ptx/control.cpp."""
    reason = available()
    if reason is not None:
        raise RuntimeError(f"the provider {NAME!r} is not available: {reason}")
    return ctypes_of(LIBRARY)


@cache
def ctypes_of(path: Path) -> ctypes.CDLL:
    """The same, of a library whose kernels need not be translated."""
    found = ctypes.CDLL(str(path))
    text, number, size, pointer = (
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_void_p,
    )
    three = ctypes.POINTER(ctypes.c_uint32)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "open": (text, [number]),
        "set_schedule": (text, [text, size]),
        "watch": (None, [ctypes.c_bool, ctypes.c_bool]),
        "reset_counts": (None, []),
        "counts": (text, []),
        "instructions": (text, []),
        "plant": (text, [text, size, text]),
        "mend": (None, []),
        "load": (text, [text, ctypes.POINTER(pointer)]),
        "launch": (text, [pointer, text, three, three, ctypes.c_uint32, ctypes.POINTER(pointer)]),
        "register": (None, [pointer, ctypes.c_int64, ctypes.c_bool]),
        "forget": (None, [pointer, ctypes.c_int64]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(found, f"fastdist_ptx_{name}")
        function.restype, function.argtypes = result, arguments
    return found


def _checked(said: bytes | None) -> None:
    if said is not None:
        raise RuntimeError(said.decode())


def use_architecture(name: str) -> None:
    """Execute the PTX for another architecture of the library, such as ``"7.5"``."""
    _checked(library().fastdist_ptx_open(int(name.replace(".", ""))))


@contextlib.contextmanager
def schedule(name: str, seed: int = 0) -> Iterator[None]:
    """Within the block, warps and blocks take their turns in this order; ``"forward"`` after it.

    Parameters
    ----------
    name : str
        ``"forward"``, ``"reverse"`` or ``"shuffled"``.
    seed : int
        Of ``"shuffled"``: the same one gives the same orders again.
    """
    said = library().fastdist_ptx_set_schedule(name.encode(), seed)
    if said is not None:
        raise ValueError(said.decode())
    try:
        yield
    finally:
        library().fastdist_ptx_set_schedule(b"forward", 0)


@contextlib.contextmanager
def counting(*, races: bool = False) -> Iterator[None]:
    """Within the block what kernels cost is counted, from nothing; `races`: watched for as well."""
    library().fastdist_ptx_reset_counts()
    library().fastdist_ptx_watch(races, True)
    try:
        yield
    finally:
        library().fastdist_ptx_watch(_races, False)


def counts() -> dict[str, Any]:
    """By kernel: launches, blocks, threads; instructions of warps and the lanes that they had,
    sectors of 32 bytes read and written, waves of shared memory; the same by source line."""
    return json.loads(library().fastdist_ptx_counts())


def instructions() -> list[dict[str, Any]]:
    """Accesses, collectives and barriers of all kernels: where, and executed by how many lanes."""
    return json.loads(library().fastdist_ptx_instructions())


@contextlib.contextmanager
def planted(kernel: str, place: int, mistake: str) -> Iterator[None]:
    """Within the block a kernel has a mistake: ``"leave out"``, ``"misalign"``, ``"beyond"``,
    ``"mask"`` (tools/ptx/plant.h)."""
    _checked(library().fastdist_ptx_plant(kernel.encode(), place, mistake.encode()))
    try:
        yield
    finally:
        library().fastdist_ptx_mend()


class Module:
    """PTX of one's own; its kernels run on memory that was registered."""

    def __init__(self, text: str) -> None:
        self._handle = ctypes.c_void_p()
        _checked(library().fastdist_ptx_load(text.encode(), ctypes.byref(self._handle)))

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[ctypes._SimpleCData],
        shared: int = 0,
    ) -> None:
        """Run a kernel; RuntimeError with its fault."""
        three = ctypes.c_uint32 * 3
        sizes = [three(*size, *[1] * (3 - len(size))) for size in (grid, block)]
        pointers = (ctypes.c_void_p * max(1, len(arguments)))()
        for k, argument in enumerate(arguments):
            pointers[k] = ctypes.addressof(argument)
        _checked(
            library().fastdist_ptx_launch(self._handle, name.encode(), *sizes, shared, pointers)
        )


@contextlib.contextmanager
def memory(*arrays: Any) -> Iterator[None]:
    """Within the block kernels of a `Module` may touch these NumPy arrays."""
    known = [(array.ctypes.data, array.nbytes, array.flags.writeable) for array in arrays]
    for known_one in known:
        library().fastdist_ptx_register(*known_one)
    try:
        yield
    finally:
        for address, size, _ in known:
            library().fastdist_ptx_forget(address, size)


def main() -> None:
    """``python -m fastdist.providers.ptx --arch 8.0 9.0``: are all kernels understood?"""
    parser = argparse.ArgumentParser(description="Translate the kernels of a library, run none.")
    parser.add_argument("--library", type=Path, default=LIBRARY)
    parser.add_argument("--arch", nargs="+", default=["9.0"])
    arguments = parser.parse_args()
    reason = stand_in.load(arguments.library, NAMESPACE, _HOW)
    if reason is not None:
        sys.exit(reason)
    found = ctypes_of(arguments.library)
    for name in arguments.arch:
        said = found.fastdist_ptx_open(int(name.replace(".", "")))
        if said is not None:
            sys.exit(f"{arguments.library}: {said.decode()}")
        places = json.loads(found.fastdist_ptx_instructions())
        kernels = len({one["kernel"] for one in places})
        print(f"PTX for {name}: {kernels} kernels translated, none executed")


if __name__ == "__main__":
    main()
