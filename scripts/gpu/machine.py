"""The machine that a result was obtained on: device, driver, versions, commit.

``python scripts/gpu/machine.py`` prints it as JSON.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = (
    *("torch", "triton", "numpy", "scipy", "numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x"),
    *("monai", "exacta", "pytest", "hypothesis"),
)

# In a process of its own: whoever asks must not hold a part of the GPU afterwards.
_ASK_TORCH = """
import json, torch
found = {"device": None, "cuda": torch.version.cuda}
if torch.cuda.is_available():
    properties = torch.cuda.get_device_properties(0)
    found.update(
        device=properties.name,
        devices=torch.cuda.device_count(),
        capability="{}.{}".format(*torch.cuda.get_device_capability(0)),
        memory_gib=round(properties.total_memory / 2**30, 1),
        multiprocessors=properties.multi_processor_count,
    )
print(json.dumps(found))
"""


def describe() -> dict[str, Any]:
    """Everything about the machine that a reader of a result may ask."""
    asked = _output(sys.executable, "-c", _ASK_TORCH)
    try:
        gpu = json.loads(asked.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        gpu = {"device": None, "cuda": None}
    return {
        **gpu,
        "driver": _driver() if gpu["device"] else None,
        "nvcc": _nvcc(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": commit(),
        "sources": sources(),
    }


def commit() -> str:
    """The commit, with a plus sign where the sources differ; FASTDIST_COMMIT where git is not."""
    head = _output("git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD").strip()
    if not head:
        return os.environ.get("FASTDIST_COMMIT", "unknown")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--", "fastdist", "csrc")
    return head + ("+" if changed.strip() else "")


def sources() -> str:
    """A digest of fastdist/ and csrc/: which sources they were, also where there is no git."""
    digest = hashlib.sha256()
    for folder in ("fastdist", "csrc"):
        for path in sorted((ROOT / folder).rglob("*")):
            made = path.suffix in (".so", ".txt") or "__pycache__" in path.parts  # Numba's, too
            if path.is_file() and not made:
                digest.update(path.relative_to(ROOT).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _driver() -> str | None:
    answer = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return answer.splitlines()[0].strip() if answer.strip() else None


def _nvcc() -> str | None:
    for nvcc in (shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        release = re.search(r"release (\S+),", _output(nvcc, "--version")) if nvcc else None
        if release:
            return release.group(1)
    return None


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found.group(1) if found else platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    print(json.dumps(describe(), indent=1))
