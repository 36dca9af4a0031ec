"""Finds the torch whose headers and libraries the extension is compiled against.

pip builds in an environment of its own, which has no torch. The torch that counts is the one
beside which fastdist will be installed, so the search looks back out of that environment: nothing
here imports torch (that costs seconds, and several hundred MB), a path is all that is needed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

OLDEST = (2, 10)  # the first release with the part of the stable ABI that fastdist uses

_ASK = (
    "import importlib.util as u; s = u.find_spec('torch');"
    "print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')"
)


class TorchNotFoundError(RuntimeError):
    """No usable torch: the message lists the places that were tried, and what each lacked."""


@dataclass(frozen=True)
class Torch:
    """Where a torch package lies, and its version."""

    folder: Path
    version: str

    @property
    def include_dirs(self) -> list[Path]:
        include = self.folder / "include"
        return [include, include / "torch" / "csrc" / "api" / "include"]

    @property
    def library_dir(self) -> Path:
        return self.folder / "lib"


def find_torch() -> Torch:
    """The first usable torch among: ``FASTDIST_TORCH_DIR``, this process's own, the one of the
    interpreter that runs pip seen from outside the isolated build environment, and the one of the
    active virtual or conda environment.

    Raises
    ------
    TorchNotFoundError
        Where none of them holds torch 2.10 or newer with its headers.
    """
    tried: list[str] = []
    seen: set[Path] = set()
    for place, folder in _candidates():
        if folder is None:
            tried.append(f"{place}: no torch")
            continue
        if folder in seen:
            continue
        seen.add(folder)
        problem = _problem(folder)
        if problem is None:
            return Torch(folder, _version(folder))
        tried.append(f"{place}: {problem}")
        if place.startswith("FASTDIST_TORCH_DIR"):
            break  # named by hand: never silently another one
    raise TorchNotFoundError("no torch >= 2.10 to compile against:\n  " + "\n  ".join(tried))


def _candidates():
    named = os.environ.get("FASTDIST_TORCH_DIR")
    if named:
        yield f"FASTDIST_TORCH_DIR={named}", Path(named)
    spec = importlib.util.find_spec("torch")
    locations = spec.submodule_search_locations if spec else None
    yield "this environment", Path(locations[0]) if locations else None
    for interpreter in _outside_interpreters():
        yield str(interpreter), _ask(interpreter)


def _outside_interpreters() -> list[Path]:
    interpreters = [Path(sys.executable)]
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = os.environ.get(variable)
        if prefix:
            interpreters.append(Path(prefix) / "bin" / "python")
    return [path for path in dict.fromkeys(interpreters) if path.exists()]


def _ask(interpreter: Path) -> Path | None:
    # -E: pip isolates a build through PYTHONPATH alone. A folder of its own to start in: with -c,
    # the current one would come first on sys.path.
    with tempfile.TemporaryDirectory() as nowhere:
        answer = subprocess.run(
            [str(interpreter), "-E", "-c", _ASK],
            cwd=nowhere,
            capture_output=True,
            text=True,
            check=False,
        )
    folder = answer.stdout.strip()
    return Path(folder) if answer.returncode == 0 and folder else None


def _problem(folder: Path) -> str | None:
    if not (folder / "version.py").is_file():
        return f"{folder} is not a torch package (no version.py)"
    version = _version(folder)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return f"torch {version} in {folder} is older than 2.10"
    if not (folder / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
        return f"torch {version} in {folder} comes without its C++ headers"
    return None


def _version(folder: Path) -> str:
    text = (folder / "version.py").read_text(encoding="utf-8")
    match = re.search(r"""__version__\s*=\s*['"](\d+\.\d+[^'"]*)['"]""", text)
    return match.group(1) if match else "0.0"


if __name__ == "__main__":
    found = find_torch()
    print(found.version, found.folder)
