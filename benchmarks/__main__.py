"""``python -m benchmarks``: measure fastdist against the libraries that are installed here.

    python -m benchmarks                    at most ten minutes, one thread
    python -m benchmarks --only loss,step   the cases with one of these words
    python -m benchmarks --threads 2 --full
    python -m benchmarks --device cuda      on an NVIDIA GPU, at most eight minutes
    python -m benchmarks --rehearse         the GPU's cases on the CPU, tiny, results elsewhere

Results are written case by case to benchmarks/results/<machine>-<device>-<version>.json, into those
of earlier runs; a table is printed at the end. Other arguments go to pytest.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks.record import COMMAND

BUDGET = {"cpu": 530, "cuda": 420}  # seconds; a case that has begun is finished
PASSED_ON = ("only", "patience", "rounds", "results", "json", "threads")
SWITCHES = ("rehearse", "full", "kernels", "require_floors")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="fastdist against the libraries that are installed here",
        epilog="Other arguments go to pytest.",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--rehearse", action="store_true", help="the GPU's cases on the CPU, tiny")
    parser.add_argument("--only", metavar="A,B", help="cases with one of these words")
    parser.add_argument("--threads", type=int, help="for every library (1; on a GPU: as they come)")
    parser.add_argument("--full", action="store_true", help="more cases, more rounds, no budget")
    parser.add_argument(
        "--budget", type=float, help=f"seconds after which no case is begun ({BUDGET})"
    )
    parser.add_argument("--patience", help="seconds for one library in one case (3, --full 60)")
    parser.add_argument("--rounds", help="visits of every library in a case (7, --full 15)")
    parser.add_argument("--results", help="folder of the results, instead of benchmarks/results")
    parser.add_argument("--json", help="file of the results, instead")
    parser.add_argument("--kernels", action="store_true", help="each kernel of a GPU with its time")
    parser.add_argument("--require-floors", action="store_true", help="a missed floor fails")
    options, rest = parser.parse_known_args(arguments)

    given = sys.argv[1:] if arguments is None else arguments
    os.environ[COMMAND] = f"python -m benchmarks {shlex.join(given)}".strip()
    run = [str(Path(__file__).parent), "-q", "-p", "no:cacheprovider", "--no-header"]
    run += ["--show-capture=no", "-rsf", "--tb=short", "--bar", "--device", options.device]
    if options.device == "cpu" and not options.rehearse:
        run += ["--benchmark-disable-gc", "--benchmark-quiet"]
    budget = options.budget or (None if options.full else BUDGET[options.device])
    if budget:
        run += ["--budget", str(budget)]
    for name in PASSED_ON:
        if getattr(options, name):
            run += [f"--{name}", str(getattr(options, name))]
    run += [f"--{name.replace('_', '-')}" for name in SWITCHES if getattr(options, name)]
    return int(pytest.main([*run, *rest]))


if __name__ == "__main__":
    sys.exit(main())
