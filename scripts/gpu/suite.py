"""make gpu-suite: the whole suite, oracles and all, with its tensors carried to the GPU and back.

tests/cuda_carried.py is the provider that carries them. What the suite asks beside the ops (builds,
documents, processes, the machine's memory) is not asked again here. ``--only edt,signed`` runs
these; further arguments go to pytest.
"""

from __future__ import annotations

import sys

from stage import REHEARSAL, Stage, chosen, more_arguments

FILES = (
    *("edt", "signed", "signed_labels", "labels", "indices", "losses", "losses_gradients"),
    *("arrays", "scipy_api", "ops", "losses_torch", "losses_monai", "signed_peers", "real_maps"),
    *("errors", "errors_maps", "losses_errors", "determinism", "fuzz"),
)
REHEARSED = ("indices", "losses_errors")
SECONDS_A_FILE = 150


def main() -> int:
    names = chosen(REHEARSED if REHEARSAL else FILES)
    stage = Stage("suite")
    for name in names:  # one by one: the ids of some tests hold random numbers, as xdist forbids
        arguments = [f"tests/test_{name}.py", "-p", "cuda_carried", "-m", "not slow"]
        stage.pytest(
            name,
            [*arguments, *more_arguments()],
            limit=SECONDS_A_FILE,
            FASTDIST_TEST_PROVIDERS="carried",
        )
    return stage.finish()


if __name__ == "__main__":
    sys.exit(main())
