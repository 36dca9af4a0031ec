"""make gpu: all stages one after the other, also after one that failed; a summary at the end."""

from __future__ import annotations

import json
import subprocess
import sys

from stage import HERE, REHEARSAL, results_folder

STAGES = ("build", "test", "suite", "sanitize", "graph", "bench")


def main() -> int:
    failed = []
    for name in STAGES:
        command = [sys.executable, str(HERE / f"{name}.py"), *sys.argv[1:]]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print("\n" + "\n".join(_line(name) for name in STAGES))
    kind = "rehearsal on the CPU" if REHEARSAL else "GPU run"
    print(f"{kind}: {'FAILED: ' + ', '.join(failed) if failed else 'all stages passed'}")
    print(f"results: {results_folder()}")
    return 1 if failed else 0


def _line(name: str) -> str:
    try:
        record = json.loads((results_folder() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return f"gpu-{name:9} no record"
    tests: dict[str, int] = {}
    for step in record["steps"]:
        for outcome, count in step.get("tests", {}).items():
            tests[outcome] = tests.get(outcome, 0) + count
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tests.items()))
    left_out = [step["step"] for step in record["steps"] if step["status"] == "left out"]
    notes = "; ".join(filter(None, [counts, left_out and f"left out: {', '.join(left_out)}"]))
    return f"gpu-{name:9} {record['status']:8} {record['seconds']:6.0f} s  {notes}"


if __name__ == "__main__":
    sys.exit(main())
