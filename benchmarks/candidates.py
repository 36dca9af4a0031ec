"""``python -m benchmarks.candidates``: how much the CUDA column passes have to try, counted.

The emulator runs the kernels' own source (csrc/cuda/kernels/columns.cuh) on the CPU and counts, per
voxel and pass,

* the candidates that the anchors look at, and the rows that the runs are relaxed against: each is
  8 evaluations, or 16 where two go together, one for each voxel of the run. Means over the lanes
  of all warps;
* what a warp goes through: the most distances, and the most rows, of any of its lanes.

The first column pass of a volume is that of its planes, transformed as images; the last one is the
rest. Counts depend on the input alone: any machine gives the same ones. They are written to
docs/kernels.json as soon as they are known, and into docs/kernels.md at the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks import inputs, real

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "build" / "emulator_trips" / "_emulator.so"
LIBRARY_VARIABLE = "FASTDIST_EMULATOR_LIBRARY"
COUNTERS = {
    "anchor candidates": "anchor_candidates",
    "run rows": "run_rows",
    "anchors, warp": "anchors_warp",
    "anchor distances, warp": "anchor_distances_warp",
    "runs, warp": "runs_warp",
    "run rows, warp": "run_rows_warp",
    "pair rows": "pair_rows",
    "pair runs, warp": "pair_runs_warp",
    "pair rows, warp": "pair_rows_warp",
}
INPUTS = {
    "blobs": "blobs",
    "50 %": "noise 50 %",
    "1 %": "noise 1 %",
    "0.01 %": "noise 0.01 %",
    "seed in a corner": "seed in a corner",
    "empty": "empty",
    "full": "full",
    "slanted plane": "slanted plane",
    "shell": "shell",
}
OPS: dict[str, Callable[[Any, torch.Tensor, int], torch.Tensor]] = {
    "signed map": lambda maps, mask, ndim: maps.signed_distance(mask, ndim=ndim),
    "edt inside": lambda maps, mask, ndim: maps.edt(mask, ndim=ndim),
    "edt outside": lambda maps, mask, ndim: maps.edt(1 - mask, ndim=ndim),
}
#: Input, name of the size, shape, dimensions of space, and how to make it.
Case = tuple[str, str, tuple[int, ...], int, Callable[[], np.ndarray]]
#: So large that an emulated pass takes tens of seconds: left out by --quick.
LARGE = 2**22


def cubes(n: int) -> Iterator[Case]:
    shape = (n,) * 3
    for name, key in INPUTS.items():
        yield name, f"{n}^3", shape, 3, partial(inputs.ADVERSARIAL[key], shape)


def cases() -> Iterator[Case]:
    yield from cubes(64)
    yield from cubes(128)
    for n in (256, 1024):
        for name in ("blobs", "seed in a corner", "slanted plane"):
            make = inputs.ADVERSARIAL[INPUTS[name]]
            yield name, f"{n}^2", (1, n, n), 2, lambda make=make, n=n: make((n, n))[None]
    yield "lesions", "16 x 256^2", (16, 256, 256), 2, inputs.lesions_2d
    for name, path in real.small().items():
        labels = real.load(path)
        shape, ndim = labels.image.shape, labels.image.ndim - 1
        size = " x ".join(str(n) for n in shape[shape[0] == 1 :])
        yield name, size, shape, ndim, lambda path=path: real.load(path).mask
    yield from cubes(256)


def count(mask: torch.Tensor, ndim: int, op: str) -> list[dict[str, float]]:
    """Per voxel, of each column pass: see the file's head. Warps' numbers are per 32 voxels."""
    from fastdist import maps, providers
    from fastdist.providers import emulator

    def counted(dims: int) -> dict[str, int]:
        emulator.reset_counters()
        with providers.forced("emulator"):
            OPS[op](maps, mask, dims)
        found = emulator.counters()
        return {ours: found.get(theirs, 0) for theirs, ours in COUNTERS.items()}

    first = counted(2)
    passes = [first]
    if ndim == 3:
        both = counted(3)
        passes.append({key: both[key] - first[key] for key in both})
    scale = {key: 32.0 if key.endswith("_warp") else 1.0 for key in first}
    return [
        {key: round(value * scale[key] / mask.numel(), 4) for key, value in one.items()}
        for one in passes
    ]


def prepare_emulator() -> None:
    """Compile the emulator so that it counts warps' trips, where nobody names another one."""
    if os.environ.get(LIBRARY_VARIABLE):
        return
    flags = f"{os.environ.get('FASTDIST_CXXFLAGS', '')} -DFASTDIST_COUNT_TRIPS -O3"
    command = [sys.executable, str(ROOT / "scripts" / "compile_emulator.py")]
    environment = os.environ | {"FASTDIST_CXXFLAGS": flags}
    subprocess.run([*command, "--output", str(LIBRARY)], env=environment, check=True)
    os.environ[LIBRARY_VARIABLE] = str(LIBRARY)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count what the CUDA column passes try.")
    parser.add_argument("--quick", action="store_true", help="no image of 4 million voxels or more")
    parser.add_argument("--only", help="the cases whose input or size contains this")
    parser.add_argument("--op", nargs="+", choices=OPS, default=list(OPS))
    arguments = parser.parse_args()
    prepare_emulator()  # before fastdist is imported

    sys.path.insert(0, str(ROOT / "scripts"))
    import kernel_document as document

    from benchmarks.record import commit

    chosen = [
        (case, op)
        for case in cases()
        for op in arguments.op
        if not (arguments.quick and np.prod(case[2]) >= LARGE)
        and (not arguments.only or arguments.only in f"{case[0]}, {case[1]}")
    ]
    voxels = sum(int(np.prod(case[2])) for case, _ in chosen)
    with tqdm(total=voxels, unit="voxel", unit_scale=True) as bar:
        for (name, size, shape, ndim, make), op in chosen:
            bar.set_description(f"{op}, {name}, {size}")
            passes = count(torch.from_numpy(np.ascontiguousarray(make())), ndim, op)
            case: dict[str, Any] = {"op": op, "input": name, "size": size, "passes": passes}
            document.record("candidates", {f"{op}, {name}, {size}": case}, commit())
            bar.update(int(np.prod(shape)))
    document.write()


if __name__ == "__main__":
    main()
