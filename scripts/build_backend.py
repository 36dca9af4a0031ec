"""The build backend (PEP 517): setuptools', with torch asked for only where none can be found.

Listed in ``build-system.requires``, torch would be downloaded into every isolated build: several
GB of CUDA libraries, of another version than the one installed. The library uses torch's stable
ABI, so the headers of any torch from 2.10 on serve: those of the environment that pip runs in.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from compile_extension import reason_for_pure_python
from find_torch import TorchNotFoundError, find_torch
from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401  (hooks passed on as they are)
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)


def _torch_requirement() -> list[str]:
    if reason_for_pure_python() is not None:
        return []
    try:
        find_torch()
    except TorchNotFoundError as error:
        if os.environ.get("FASTDIST_TORCH_DIR"):
            raise  # named by hand: another one would be a surprise
        print(f"fastdist: {error}\nfastdist: asking for torch in the build environment")
        return ["torch>=2.10"]
    return []


def get_requires_for_build_wheel(config_settings=None):
    return build_meta.get_requires_for_build_wheel(config_settings) + _torch_requirement()


def get_requires_for_build_editable(config_settings=None):
    return build_meta.get_requires_for_build_editable(config_settings) + _torch_requirement()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    # setuptools copies into build/lib and never deletes from it: a module that the sources no
    # longer have would go on being shipped. The compiled objects lie elsewhere and stay.
    for stale in Path("build").glob("lib*"):
        shutil.rmtree(stale, ignore_errors=True)
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
