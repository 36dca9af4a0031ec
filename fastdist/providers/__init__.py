"""Providers: who implements the ops of ``fastdist.ops``, and which of them answers.

A provider is a module of this package with

* ``NAME``: the name that ``FASTDIST_PROVIDER`` and ``forced`` know;
* ``DISPATCH_KEY``: the dispatcher's key it registers under, ``"CPU"`` or ``"CUDA"``;
* ``available() -> str | None``: None where it can work, else the reason why not;
* ``IMPLEMENTATIONS``: a dict from each name in ``fastdist.ops.PROVIDED`` to a function with that
  op's arguments, or None for a compiled library, which registers its own.

Importing the module must be cheap: what takes time to import or compile is imported by the
functions when they are first called. At the import of ``fastdist`` one provider is chosen: the one
named by ``FASTDIST_PROVIDER``, else the first available one of ``ORDER``.

On CUDA tensors the compiled library answers where it was built with CUDA, whatever is chosen for
the CPU, unless ``numba`` is forced; else Numba's CUDA does, which is looked for when the first CUDA
tensor comes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType

import torch

from fastdist import checks, ops
from fastdist.providers import cuda, extension

#: Name to module; the fastest provider first.
ORDER = {
    "extension": "fastdist.providers.extension",
    "numba": "fastdist.providers.numba_cpu",
    "reference": "fastdist.providers.reference",
}
#: Providers that answer only when they are forced: of them tests are made, not results.
TEST_ONLY = {"emulator": "fastdist.providers.emulator", "ptx": "fastdist.providers.ptx"}
ENVIRONMENT_VARIABLE = "FASTDIST_PROVIDER"

_active: str | None = None  # the chosen provider's name
_registration: torch.library.Library | None = None  # its kernels, where they are Python functions
_selecting = threading.RLock()  # one thread at a time changes them, and the dispatcher's table


def module(name: str) -> ModuleType:
    """The provider's module; an unknown name is a ValueError that lists the known ones."""
    modules = ORDER | TEST_ONLY
    checks.choice("provider", name, tuple(modules))
    return importlib.import_module(modules[name])


def reasons() -> dict[str, str | None]:
    """For every provider None where it is available, else the reason why it is not."""
    found = {}
    for name in ORDER:
        try:
            found[name] = module(name).available()
        except ImportError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def available() -> list[str]:
    """The names of the providers that can answer here, the fastest first."""
    return [name for name, reason in reasons().items() if reason is None]


def current(device: torch.device | str = "cpu") -> str | None:
    """The name of the provider that answers for tensors on this device; None: nobody does."""
    try:
        key = torch.device(device).type.upper()
    except (RuntimeError, TypeError, ValueError, OverflowError):
        got = checks.shown(device)
        raise ValueError(f"device: got {got}, expected the name of a torch device") from None
    if key == "CPU":
        return _active
    return cuda.current() if key == "CUDA" else None


def select(name: str) -> None:
    """Let this provider answer from now on; RuntimeError with the reason where it cannot."""
    provider = module(name)
    reason = provider.available()
    if reason is not None:
        raise RuntimeError(f"the provider {name!r} is not available: {reason}")
    with _selecting:
        _register(name, provider.IMPLEMENTATIONS, provider.DISPATCH_KEY)


def _register(name: str, implementations: dict | None, key: str) -> None:
    global _active, _registration
    cuda.choose(name)
    if name == _active:
        return
    if _registration is not None:
        _registration._destroy()
        _registration = None
    if implementations is not None:
        missing = [op for op in ops.PROVIDED if op not in implementations]
        if missing:
            raise RuntimeError(f"the provider {name!r} does not implement {', '.join(missing)}")
        _registration = torch.library.Library("fastdist", "IMPL")
        with warnings.catch_warnings():
            # To override the library's kernels is the purpose here, not a mistake.
            warnings.filterwarnings("ignore", message="Warning only once for all operators")
            for op in ops.PROVIDED:
                kernel = implementations[op]
                _registration.impl(op, kernel, key, allow_override=True)
    _active = name


@contextlib.contextmanager
def forced(name: str) -> Iterator[None]:
    """Within the block this provider answers, in every thread; afterwards the previous one.

    >>> from fastdist import providers
    >>> with providers.forced("reference"):
    ...     providers.current()
    'reference'
    """
    previous = _active
    select(name)
    try:
        yield
    finally:
        if previous is not None:
            select(previous)


def _select_default() -> None:
    # The library goes first: kernels that it registered later would hide those of Python.
    extension.available()
    wanted = os.environ.get(ENVIRONMENT_VARIABLE)
    if wanted:
        select(wanted)
        return
    found = reasons()
    name = next(name for name, reason in found.items() if reason is None)
    select(name)
    if name == "reference":
        slower = "; ".join(f"{other}: {reason}" for other, reason in found.items() if reason)
        warnings.warn(
            f"fastdist computes by brute force, slowly, for want of a faster provider ({slower})",
            RuntimeWarning,
            stacklevel=2,
        )


_select_default()
