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
    "monai",
    "exacta",
    "numba",
)


def environment(threads: int) -> dict[str, Any]:
    """Machine, versions and commit."""
    from fastdist import ops, providers

    extension = providers.reasons()["extension"] is None
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "fastdist": version(),
        "extension": json.loads(ops.build_info()) if extension else None,
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": os.environ.get(COMMAND) or shlex.join(["pytest", *sys.argv[1:]]),
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
    """The commit that is checked out, with a plus sign where the sources differ from it."""
    root = Path(__file__).parent.parent
    try:
        head = _git(root, "rev-parse", "--short=10", "HEAD")
        return head + ("+" if _git(root, "diff", "HEAD", "--", "fastdist", "csrc") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


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


def default_path(threads: int) -> Path:
    """``results/<machine>-cpu-<version>.json``; more threads than one are named."""
    machine = re.sub(r"[^a-z0-9]+", "-", cpu_model().lower()).strip("-")
    machine = machine.replace("-family", "").replace("-model", "") + f"-{os.cpu_count()}core"
    device = "cpu" if threads == 1 else f"cpu{threads}threads"
    return RESULTS / f"{machine}-{device}-{version()}.json"


class Record:
    """Results by case name, written to the file after each."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self.threads = threads
        self.commit = commit()  # now: what is loaded stays what it is while the tree moves on
        self.cases: dict[str, Any] = {}
        self.fresh: list[str] = []  # cases of this run

    def add(self, name: str, result: dict[str, Any]) -> None:
        now = {**environment(self.threads), "commit": self.commit}
        old = read(self.path) if self.path.exists() else {"cases": {}}
        result = {**result, "threads": self.threads, "commit": now["commit"], "date": now["date"]}
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
