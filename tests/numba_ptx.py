"""Compile every kernel of the provider ``numba`` for CUDA tensors to PTX, without a GPU.

    python numba_ptx.py [own] [numpy-2.5] 7.5 9.0 12.0

own        Numba's own CUDA, though numba-cuda is installed
numpy-2.5  NumPy without the name that NumPy 2.5 has no more, as numba-cuda finds it there

What is compiled is what is launched: the ops are called on meta tensors, of every dtype, geometry
and number of axes, with a launcher that notes the kernel and its arguments' types. Prints JSON.
"""

import contextlib
import itertools
import json
import re
import sys

if "own" in sys.argv:
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "NumbaCudaFinder"]

import numpy as np

if "numpy-2.5" in sys.argv:
    vars(np).pop("row_stack", None)

import numba.cuda
import torch
from numba import types

from fastdist.providers import numba_cuda, numba_cuda_probe
from fastdist.providers import numba_cuda_launch as launching

CAPABILITIES = [
    tuple(map(int, word.split("."))) for word in sys.argv[1:] if re.fullmatch(r"\d+\.\d", word)
]
IMAGES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16,
    torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
)  # fmt: skip
DISTANCES = (torch.float32, torch.float64, torch.int32, torch.int64)
# int32, int64 and float64 keys; the last has more voxels than 32 bits count.
SPACES = [(5,), (5, 6), (4, 5, 6), (3, 40_000), (2, 2**30 + 8)]
SAMPLINGS = {"unit": 1.0, "odd": 0.7, "whole": 3.0, "per item": None}

array_types = {
    torch.uint8: types.uint8, torch.int32: types.int32, torch.int64: types.int64,
    torch.float32: types.float32, torch.float64: types.float64,
}  # fmt: skip


def signature(arguments):
    """What Numba makes of the arguments of a launch (`numba_cuda_launch._argument`)."""
    found = []
    for value in arguments:
        if isinstance(value, torch.Tensor):
            found.append(types.Array(array_types[value.dtype], 1, "C"))
        else:
            found.append({int: types.int64, float: types.float64}[type(value)])
    return tuple(found)


def launched():
    """Every kernel with every signature in which the ops launch it."""
    seen = {}

    @contextlib.contextmanager
    def on(device):
        def launch(kernel, work, *arguments):
            seen[kernel.py_func.__name__, signature(arguments)] = kernel

        yield launch

    launching.on = on
    ops = numba_cuda.IMPLEMENTATIONS

    def new(*shape, dtype):
        return torch.empty(shape, dtype=dtype, device="meta")

    for space, (name, step), border in itertools.product(SPACES, SAMPLINGS.items(), (False, True)):
        ndim = len(space)
        rows = new(1, ndim, dtype=torch.float64) if name == "per item" else None
        # Of one axis every spacing is whole in units of itself.
        steps = [step or 1.0] * ndim if name != "odd" else [0.7, 1.9, 3.1][:ndim]
        for image, distances in itertools.product(IMAGES, DISTANCES):
            mask, out = new(1, *space, dtype=image), new(1, *space, dtype=distances)
            squared = not out.is_floating_point()
            for op in ("edt_out", "edt_labels_out"):
                ops[op](mask, ndim, steps, rows, squared, border, out)
            for index in (torch.int32, torch.int64):
                indices = new(ndim, 1, *space, dtype=index)
                ops["edt_indices_out"](mask, ndim, steps, rows, squared, False, out, indices)
    return seen


def main():
    report = {"implementation": getattr(numba.cuda, "implementation", "Built-in"), "targets": {}}
    # As a GPU of each kind would be asked whether Numba can use it, before anything is launched.
    report["reasons"] = [numba_cuda_probe.cannot_compile(cc) for cc in CAPABILITIES]
    report["row_stack"] = hasattr(np, "row_stack")
    kernels = launched()
    report["signatures"] = sorted(f"{name}{tuple(map(str, sig))}" for name, sig in kernels)
    for capability in CAPABILITIES:
        targets = set()
        for (name, sig), kernel in kernels.items():
            ptx, _ = numba.cuda.compile_ptx(kernel.py_func, sig, cc=capability)
            assert ".visible .entry" in ptx
            targets |= set(re.findall(r"^\.target sm_(\d+)", ptx, re.MULTILINE))
            # A root that is not correctly rounded would be another number than the CPU's.
            assert name != "store_distances" or "sqrt.rn.f64" in ptx
        report["targets"]["{}.{}".format(*capability)] = sorted(targets)
    print(json.dumps(report))


main()
