"""make gpu-graph: nothing waits for the device; every call is recorded as a graph, and compiled.

``--only graphs`` runs that file; further arguments go to pytest.
"""

from __future__ import annotations

import sys

from stage import Stage, chosen, more_arguments

STEPS = {
    "graphs": ("graphs", "cuda and not slow"),
    "torch": ("torch", "cuda and not slow"),
    "inductor": ("torch", "cuda and slow"),  # and the graphs that it records by itself
}
SECONDS_A_STEP = 240


def main() -> int:
    names = chosen(STEPS)
    stage = Stage("graph")
    for name in names:
        file, marks = STEPS[name]
        arguments = [f"tests/test_cuda_{file}.py", "-m", marks, *more_arguments()]
        stage.pytest(name, arguments, limit=SECONDS_A_STEP)
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
