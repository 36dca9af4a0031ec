"""The JSON file of a run: the environment, and each case as soon as it is known."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
COMMAND = "FASTDIST_BENCHMARKS_COMMAND"  # set by python -m benchmarks
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "edt",
    "opencv-python-headless",
    "SimpleITK",
    "diplib",
    "bioimage-cpp",
    "kornia",
    "torchmetrics",
    "FastGeodis",
    "monai",
    "exacta",
    "numba",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "cucim-cu12",
    "cucim-cu13",
    "triton",
)


@cache
def _unchanging(
    threads: int | None, device: str = "cpu", rehearsal: bool = False
) -> dict[str, Any]:
    """Machine, versions and commit: those of the first call, since what is loaded stays loaded."""
    from fastdist import ops, providers

    extension = providers.reasons()["extension"] is None
    return {
        "device": "rehearsal on the CPU" if rehearsal else gpu() if device == "cuda" else "cpu",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "fastdist": version(),
        "extension": json.loads(ops.build_info()) if extension else None,
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "command": os.environ.get(COMMAND) or shlex.join(["pytest", *sys.argv[1:]]),
    }


def environment(
    threads: int | None, device: str = "cpu", rehearsal: bool = False
) -> dict[str, Any]:
    """What a result was obtained with, and when."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {**_unchanging(threads, device, rehearsal), "date": now}


def gpu() -> dict[str, Any]:
    """What torch says of the current GPU."""
    found = torch.cuda.get_device_properties("cuda")
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory": found.total_memory,
        "l2_cache": found.L2_cache_size,
        "cuda": torch.version.cuda,
    }


def cpu_model() -> str:
    """The processor's name as the system gives it, with family and model: AMD EPYC (25/17)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    name = fields.get("model name", platform.machine())
    if "model" in fields:
        name += f" (family {fields.get('cpu family')}, model {fields['model']})"
    return name


def commit() -> str:
    """The commit that is checked out, with a plus sign where the sources differ from it.

    Where there is no git: what FASTDIST_COMMIT says.
    """
    root = Path(__file__).parent.parent
    try:
        head = _git(root, "rev-parse", "--short=10", "HEAD")
        return head + ("+" if _git(root, "diff", "HEAD", "--", "fastdist", "csrc") else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("FASTDIST_COMMIT", "unknown")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def version() -> str:
    """The version of fastdist that is measured: of the distribution, or of the source tree."""
    found = _version("fastdist-torch")
    if found is not None:
        return found
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    return re.search(r'^version = "(.*)"', text, re.MULTILINE).group(1)  # type: ignore[union-attr]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def file_name(device: str = "cpu", threads: int | None = 1, rehearsal: bool = False) -> str:
    """``<machine>-<device>-<version>.json``; more threads than one are named."""
    if device == "cuda" and torch.cuda.is_available():
        machine = _plain(torch.cuda.get_device_name())
    else:
        machine = _plain(cpu_model()).replace("-family", "").replace("-model", "")
        machine += f"-{os.cpu_count()}core"
    if device == "cpu" and threads not in (1, None):
        device = f"cpu{threads}threads"
    return f"{'rehearsal-' if rehearsal else ''}{machine}-{device}-{version()}.json"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class Record:
    """Results by case name, written to the file after each."""

    def __init__(
        self, path: Path, threads: int | None, device: str = "cpu", rehearsal: bool = False
    ) -> None:
        self.path = path
        self.threads = threads
        self.where = (device, rehearsal)
        self.cases: dict[str, Any] = {}
        self.fresh: list[str] = []  # cases of this run

    def add(self, name: str, result: dict[str, Any]) -> None:
        now = environment(self.threads, *self.where)
        old = read(self.path) if self.path.exists() else {"cases": {}}
        when = {key: now[key] for key in ("commit", "date", "command")}
        result = {**result, "threads": self.threads, **when}
        old["cases"][name] = result
        self.cases[name] = result
        self.fresh.append(name)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        temporary.write_text(
            json.dumps({"environment": now, "cases": old["cases"]}, indent=1, default=_rounded)
            + "\n"
        )
        temporary.replace(self.path)


def _rounded(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) or hasattr(value, "item") else str(value)


def read(path: Path | str) -> dict[str, Any]:
    """A result file's content."""
    return json.loads(Path(path).read_text())


def newest(pattern: str = "*.json") -> Path | None:
    """The result file in benchmarks/results that was written last."""
    return max(RESULTS.glob(pattern), key=lambda file: file.stat().st_mtime, default=None)
