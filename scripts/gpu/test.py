"""make gpu-test: the tests that need a GPU, a process for each file.

A fault ends the process that caused it, and a hang is ended after a while; the other files go on.
``--only values,signed`` runs these; further arguments go to pytest.
"""

from __future__ import annotations

import sys

from stage import ROOT, Stage, chosen, more_arguments

# What is proven first matters most, should the time run out. Graphs and compilation: gpu-graph.
FIRST = ("values", "signed", "losses", "streams", "errors", "arrays", "training", "sizes")
ELSEWHERE = {"graphs", "torch"}
HUGE = "huge"  # more than 2^31 elements
SECONDS_A_FILE = 150


def main() -> int:
    present = {path.stem[len("test_cuda_") :] for path in (ROOT / "tests").glob("test_cuda_*.py")}
    later = sorted(present - set(FIRST) - ELSEWHERE)  # files that are not listed above
    names = chosen([*FIRST, *later, HUGE])
    stage = Stage("test")
    for name in names:
        file, marks = ("sizes", "cuda and slow") if name == HUGE else (name, "cuda and not slow")
        arguments = [f"tests/test_cuda_{file}.py", "-m", marks, *more_arguments()]
        stage.pytest(name, arguments, limit=SECONDS_A_FILE)
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
