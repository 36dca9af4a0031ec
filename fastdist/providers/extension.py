"""The provider ``extension``: the compiled library, which registers its own kernels when loaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

NAME = "extension"
DISPATCH_KEY = "CPU"
IMPLEMENTATIONS = None
LIBRARY = Path(__file__).parent.parent / "_extension.so"


@cache
def available() -> str | None:
    """Load the library, once; None where that worked, else the reason why not."""
    if not LIBRARY.exists():
        return (
            "the compiled library fastdist/_extension.so is not there; it is built when fastdist "
            "is installed where a C++ compiler is"
        )
    try:
        torch.ops.load_library(LIBRARY)
    except OSError as error:
        return f"the compiled library does not load: {error}"
    return None
