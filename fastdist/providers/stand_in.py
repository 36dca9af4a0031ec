"""What the providers have in common that run the CUDA kernels on a CPU: a library of their own,
which answers for CPU tensors under a namespace of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fastdist import ops

DISPATCH_KEY = "CPU"

_schemas: dict[str, torch.library.Library] = {}  # by namespace, while the process lives


def load(library: Path, namespace: str, how: str) -> str | None:
    """Load a library of ops; None where that worked, else the reason why not. `how` makes it."""
    if not library.exists():
        return f"there is no {library.name}: {how}"
    _define(namespace)
    try:
        torch.ops.load_library(library)
    except OSError as error:
        return f"{library} does not load: {error} ({how} anew)"
    missing = [op for op in ops.PROVIDED if not _answers(namespace, op)]
    if missing:
        return f"{library} has no {', '.join(missing)}: {how} anew"
    return None


def implementations(namespace: str) -> dict[str, Callable[..., Any]]:
    """The ops of a library that was loaded."""
    return {op: getattr(getattr(torch.ops, namespace), op).default for op in ops.PROVIDED}


def _define(namespace: str) -> None:
    """The schemas of ``fastdist::*`` in another namespace."""
    if namespace in _schemas:
        return
    schemas = _schemas[namespace] = torch.library.Library(namespace, "DEF")
    for op in ops.PROVIDED:
        schemas.define(op + ops.SCHEMAS[op])
        # Autograd is dealt with above, where the ops of `fastdist` call these.
        schemas.impl(op, torch.library.fallthrough_kernel, "Autograd")


def _answers(namespace: str, op: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"{namespace}::{op}", DISPATCH_KEY)
