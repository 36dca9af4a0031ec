"""``python -m benchmarks``: measure fastdist against the libraries that are installed here.

    python -m benchmarks                    a few minutes, one thread
    python -m benchmarks --only loss        the cases whose name contains it
    python -m benchmarks --threads 2 --full

Results are written case by case to benchmarks/results/<machine>-cpu-<version>.json, into those of
earlier runs; a table is printed at the end. Other arguments go to pytest.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks.record import COMMAND


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="fastdist against the libraries that are installed here",
        epilog="Other arguments go to pytest.",
    )
    parser.add_argument("--only", metavar="WORD", help="cases whose name contains it")
    parser.add_argument("--threads", type=int, default=1, help="for every library (1)")
    parser.add_argument("--full", action="store_true", help="more cases, more rounds")
    parser.add_argument("--budget", help="seconds for one library in one case (12, with --full 60)")
    parser.add_argument("--json", help="where the results go, instead of benchmarks/results/")
    parser.add_argument("--require-floors", action="store_true", help="a missed floor fails")
    options, rest = parser.parse_known_args(arguments)

    given = sys.argv[1:] if arguments is None else arguments
    os.environ[COMMAND] = f"python -m benchmarks {shlex.join(given)}".strip()
    run = [str(Path(__file__).parent), "-q", "-p", "no:cacheprovider", "--benchmark-disable-gc"]
    run += ["--no-header", "--show-capture=no", "-rsf", "--tb=short", "--bar", "--benchmark-quiet"]
    run += ["--threads", str(options.threads)]
    if options.only:
        run += ["--only", options.only]
    if options.full:
        run.append("--full")
    if options.budget:
        run += ["--budget", options.budget]
    if options.json:
        run += ["--json", options.json]
    if options.require_floors:
        run.append("--require-floors")
    return int(pytest.main([*run, *rest]))


if __name__ == "__main__":
    sys.exit(main())
