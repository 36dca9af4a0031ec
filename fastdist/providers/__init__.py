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
"""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator
from types import ModuleType

import torch

from fastdist import ops
from fastdist.providers import extension

#: Name to module; the fastest provider first.
ORDER = {
    "extension": "fastdist.providers.extension",
    "numba": "fastdist.providers.numba_cpu",
    "reference": "fastdist.providers.reference",
}
ENVIRONMENT_VARIABLE = "FASTDIST_PROVIDER"

_active: str | None = None  # the chosen provider's name
_registration: torch.library.Library | None = None  # its kernels, where they are Python functions


def module(name: str) -> ModuleType:
    """The provider's module; an unknown name is a ValueError that lists the known ones."""
    if name not in ORDER:
        raise ValueError(f"provider: got {name!r}, expected one of {', '.join(map(repr, ORDER))}")
    return importlib.import_module(ORDER[name])


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


def current(device: torch.device | str = "cpu", op: str = "edt_out") -> str | None:
    """The name of the provider that answers for tensors on this device; None: nobody does."""
    key = torch.device(device).type.upper()
    if key == "CPU":
        return _active
    if key == "CUDA" and torch._C._dispatch_has_kernel_for_dispatch_key(f"fastdist::{op}", key):
        return "extension"
    return None


def select(name: str) -> None:
    """Let this provider answer from now on; RuntimeError with the reason where it cannot."""
    global _active, _registration
    provider = module(name)
    reason = provider.available()
    if reason is not None:
        raise RuntimeError(f"the provider {name!r} is not available: {reason}")
    if name == _active:
        return
    if _registration is not None:
        _registration._destroy()
        _registration = None
    implementations = provider.IMPLEMENTATIONS
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
                _registration.impl(op, kernel, provider.DISPATCH_KEY, allow_override=True)
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
