"""make gpu-bench: `python -m benchmarks --device cuda`, its results in RESULTS/benchmarks."""

from __future__ import annotations

import sys

from stage import REHEARSAL, Stage, more_arguments


def main() -> int:
    stage = Stage("bench")
    device = ["--rehearse", "--rounds", "1"] if REHEARSAL else ["--device", "cuda"]
    results = ["--results", str(stage.folder / "benchmarks")]
    command = [sys.executable, "-m", "benchmarks", *device, *results, *more_arguments()]
    stage.run("benchmarks", command)
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
