"""make gpu-keep: what the stages left behind, into benchmarks/results/, to be committed.

    keep.py [FILE.tgz ...]      without files: all of RESULTS

Of each stage the record goes to benchmarks/results/gpu/<device>-<commit>/<stage>.json, with what
the profiler counted, and the benchmarks to benchmarks/results/. What was not measured on a GPU, or
on sources nobody can name, is refused.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
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


def main(files: list[str]) -> int:
    archives = [Path(file) for file in files] or sorted(results_folder().glob("gpu-*.tgz"))
    refused = 0
    kept: list[Path] = []
    for archive in archives:
        found = _read(archive)
        record = found.pop("record.json", {})
        reason = objection(record)
        if reason:
            refused += 1
            print(f"refused: {archive.name}: {reason}")
            continue
        machine = record["machine"]
        name = re.sub(r"[^a-z0-9]+", "-", f"{machine['device']} {machine['commit']}".lower())
        folder = KEPT / "gpu" / name.strip("-")
        kept.append(_write(folder / f"{record['stage']}.json", record))
        for path, content in found.items():
            if not path.startswith("benchmarks/"):
                kept.append(_write(folder / path, content))
            elif reason := benchmark_objection(content):
                refused += 1
                print(f"refused: {archive.name}, {path}: {reason}")
            else:
                kept.append(_write(KEPT / Path(path).name, content))
    for path in kept:
        print(f"kept: {path.relative_to(ROOT)}")
    if not archives:
        print(f"no results in {results_folder()}")
    return 1 if refused or not kept else 0


def _read(archive: Path) -> dict[str, Any]:
    """The JSON files of a stage, by their paths in its archive."""
    with tarfile.open(archive) as files:
        return {
            member.name: json.loads(files.extractfile(member).read())  # type: ignore[union-attr]
            for member in files.getmembers()
            if member.isfile() and member.name.endswith(".json")
        }


def _write(target: Path, content: dict[str, Any]) -> Path:
    """Benchmarks of earlier runs that this one did not repeat stay in the file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and "cases" in content:
        before = json.loads(target.read_text(encoding="utf-8"))
        content = {**content, "cases": {**before["cases"], **content["cases"]}}
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return target


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
