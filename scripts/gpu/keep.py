"""make gpu-keep: copies the results of a GPU run into benchmarks/results/, to be committed.

Stage records go to benchmarks/results/gpu/<device>-<commit>/, benchmarks to benchmarks/results/.
What was not measured on a GPU, or on sources nobody can name, is refused.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from stage import ROOT, results_folder

KEPT = ROOT / "benchmarks" / "results"


def objection(record: dict[str, Any]) -> str | None:
    """Why a stage's record is not kept, or None."""
    machine = record.get("machine") or {}
    if record.get("rehearsal") is not False:
        return "it is a rehearsal's"
    if not machine.get("device"):
        return "it names no GPU"
    if machine.get("commit", "unknown") == "unknown":
        return "it names no commit (without git, set FASTDIST_COMMIT)"
    return None


def benchmark_objection(results: dict[str, Any]) -> str | None:
    """Why a file of benchmarks is not kept, or None."""
    environment = results.get("environment") or {}
    if not isinstance(environment.get("device"), dict):
        return f"its device is {environment.get('device')!r}, no GPU"
    if environment.get("commit", "unknown") == "unknown":
        return "it names no commit"
    return None


def main() -> int:
    source = results_folder()
    refused = 0
    kept: list[Path] = []
    for path in sorted(source.glob("*.json")):
        record = _read(path)
        reason = objection(record)
        if reason:
            refused += 1
            print(f"refused: {path.name}: {reason}")
            continue
        machine = record["machine"]
        name = re.sub(r"[^a-z0-9]+", "-", f"{machine['device']} {machine['commit']}".lower())
        kept.append(_copy(path, KEPT / "gpu" / name.strip("-") / path.name))
    for path in sorted((source / "benchmarks").glob("*.json")):
        reason = benchmark_objection(_read(path))
        if reason:
            refused += 1
            print(f"refused: benchmarks/{path.name}: {reason}")
        else:
            kept.append(_copy(path, KEPT / path.name))
    for path in kept:
        print(f"kept: {path.relative_to(ROOT)}")
    if not kept and not refused:
        print(f"no results in {source}")
    return 1 if refused or not kept else 0


def _copy(source: Path, target: Path) -> Path:
    """Copied whole; benchmarks of earlier runs that this one did not repeat stay in the file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = _read(source)
    if target.exists() and "cases" in new:
        new["cases"] = {**_read(target)["cases"], **new["cases"]}
        target.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    else:
        shutil.copyfile(source, target)
    return target


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
