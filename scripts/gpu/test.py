"""make gpu-test: the tests that need a GPU, a process for each file.

A fault ends the process that caused it, and a hang is ended after a while; the other files go on.
``--only values,signed`` runs these; further arguments go to pytest.
"""

from __future__ import annotations

import importlib.util
import sys

from stage import ROOT, Stage, chosen, more_arguments

# What is proven first matters most, should the time run out. Graphs and compilation: gpu-graph.
FIRST = ("values", "signed", "losses", "streams", "errors", "arrays", "training", "sizes")
ELSEWHERE = {"graphs", "torch"}
HUGE = "huge"  # more than 2^31 elements
NUMBA = "numba"  # the fallback for CUDA tensors, where nothing is compiled
SECONDS_A_FILE = 150


def main() -> int:
    present = {path.stem[len("test_cuda_") :] for path in (ROOT / "tests").glob("test_cuda_*.py")}
    later = sorted(present - set(FIRST) - ELSEWHERE)  # files that are not listed above
    names = chosen([*FIRST, *later, HUGE, NUMBA])
    stage = Stage("test")
    for name in names:
        files, marks, provider = [name], "cuda and not slow", {}
        if name == HUGE:
            files, marks = ["sizes"], "cuda and slow"
        elif name == NUMBA:
            if importlib.util.find_spec("numba") is None:
                stage.leave_out(NUMBA, "Numba is not installed")
                continue
            files, provider = ["values", "losses", "streams"], {"FASTDIST_PROVIDER": "numba"}
        arguments = [*(f"tests/test_cuda_{file}.py" for file in files), "-m", marks]
        stage.pytest(name, [*arguments, *more_arguments()], limit=SECONDS_A_FILE, **provider)
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
