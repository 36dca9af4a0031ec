"""The provider ``extension``: the compiled library, which registers its own kernels when loaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from fastdist import ops

NAME = "extension"
DISPATCH_KEY = "CPU"
IMPLEMENTATIONS = None
LIBRARY = Path(__file__).parent.parent / "_extension.so"
#: Left behind by an installation without the library: why it has none.
NOTE = LIBRARY.with_name("_extension_missing.txt")


@cache
def available() -> str | None:
    """Load the library, once; None where that worked, else the reason why not."""
    if not LIBRARY.exists():
        note = NOTE.read_text(encoding="utf-8").strip() if NOTE.exists() else "it was not built"
        return f"there is no compiled library {LIBRARY.name}: {note}"
    try:
        torch.ops.load_library(LIBRARY)
    except OSError as error:
        return f"the compiled library {LIBRARY} does not load: {error}"
    missing = [op for op in ops.PROVIDED if not _answers(op)]
    if missing:
        return f"the compiled library {LIBRARY} is older than this package: no {', '.join(missing)}"
    return None


def _answers(op: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"fastdist::{op}", DISPATCH_KEY)
