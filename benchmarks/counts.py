"""What the CUDA kernels execute, counted by executing nvcc's PTX (tools/ptx), beside CuPy's.

    python -m benchmarks.counts                       # the table that docs/kernels.md explains
    python -m benchmarks.counts --json FILE           # by kernel and by source line as well
    python -m benchmarks.counts --kernel pack_bytes   # the dearest source lines of a kernel instead

Needs ``python scripts/compile_ptx.py``. Where a wheel of CuPy is installed (or unpacked in the
folder ``--cupy``), its PBA+ kernels are compiled from it and run for the same maps.

Counted are instructions of PTX that a warp, or a group of its lanes, executes; sectors of 32 bytes
that a warp's access touches, before any cache; waves of shared memory. ptxas makes other
instructions of them, and a GPU answers many sectors from its caches: these are no times.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import cupy_kernels, inputs
from fastdist import providers, signed_distance
from fastdist.losses import BoundaryLoss
from fastdist.providers import ptx

ARCHITECTURES = ("7.5", "9.0")
MAPS = ((256, 256), (1024, 1024), (64, 64, 64), (128, 128, 128))
LOSSES = ((256, 256), (64, 64, 64))
CLASSES = 4


@dataclass(frozen=True)
class Case:
    name: str
    voxels: int
    call: Callable[[], object]
    mask: Tensor | None = None  # of a map that CuPy can make too


def cases() -> list[Case]:
    """Signed maps of blobs, and the loss of four classes, forward and backward."""
    found = []
    for shape in MAPS:
        mask = torch.from_numpy(inputs.blobs(shape)).to(torch.uint8)
        call = partial(signed_distance, mask, ndim=mask.dim())
        found.append(Case(f"signed map, blobs, {_size(shape)}", mask.numel(), call, mask))
    for shape in LOSSES:
        noise = torch.from_numpy(inputs.smooth_noise(shape))
        labels = (noise * 1.5 + CLASSES / 2).clamp(0, CLASSES - 1).to(torch.uint8)[None, None]
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(1, CLASSES, *shape, generator=generator)

        def step(logits: Tensor = logits, labels: Tensor = labels) -> None:
            leaf = logits.clone().requires_grad_()
            BoundaryLoss(softmax=True, to_onehot_y=True)(leaf, labels).backward()

        found.append(Case(f"loss of {CLASSES} classes, {_size(shape)}", logits[0, 0].numel(), step))
    return found


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}^{len(shape)}"


def count(call: Callable[[], object]) -> dict[str, Any]:
    """What one call executes, by kernel."""
    with ptx.counting(), providers.forced("ptx"):
        call()
        return ptx.counts()


def summed(kernels: dict[str, Any], voxels: int) -> dict[str, float]:
    """Per 32 voxels: instructions, shared waves; per voxel: bytes read and written."""

    def total(key: str) -> int:
        return sum(kernel[key] for kernel in kernels.values())

    return {
        "launches": total("launches"),
        "instructions": round(total("instructions") * 32 / voxels, 1),
        "bytes_read": round(total("sectors_read") * 32 / voxels, 2),
        "bytes_written": round(total("sectors_written") * 32 / voxels, 2),
        "shared_waves": round(total("shared_waves") * 32 / voxels, 1),
    }


def measure(cupy: Path | None) -> dict[str, Any]:
    """Everything, by case and by whose kernels they are."""
    found: dict[str, Any] = {case.name: {} for case in cases()}
    for architecture in ARCHITECTURES:
        ptx.use_architecture(architecture)
        for case in cases():
            kernels = count(case.call)
            found[case.name][f"fastdist, sm_{architecture.replace('.', '')}"] = {
                **summed(kernels, case.voxels),
                "kernels": kernels,
            }
    if cupy is not None:
        for case in cases():
            if case.mask is None:
                continue
            with ptx.counting():
                cupy_kernels.signed_map(cupy, case.mask.numpy())
                kernels = ptx.counts()
            found[case.name]["CuPy's PBA+, sm_90"] = {
                **summed(kernels, case.voxels),
                "kernels": kernels,
            }
    return found


COLUMNS = {
    "launches": "launches",
    "instructions": "instructions / 32 voxels",
    "bytes_read": "bytes read / voxel",
    "bytes_written": "bytes written / voxel",
    "shared_waves": "shared waves / 32 voxels",
}


def table(found: dict[str, Any]) -> str:
    head = " | ".join(["| | whose", *COLUMNS.values()])
    lines = [f"{head} |", "|---|---|" + "--:|" * len(COLUMNS)]
    for case, by_whom in found.items():
        for whose, numbers in by_whom.items():
            cells = " | ".join(f"{numbers[key]:g}" for key in COLUMNS)
            lines.append(f"| {case} | {whose} | {cells} |")
    return "\n".join(lines)


def dearest(found: dict[str, Any], kernel: str, most: int = 25) -> str:
    """The source lines of kernels whose name begins so, in the order of their instructions."""
    lines = []
    for case, by_whom in found.items():
        for whose, numbers in by_whom.items():
            for name, one in numbers["kernels"].items():
                if not name.startswith(kernel):
                    continue
                lines.append(f"{case}, {whose}, {name}: {one['instructions']} instructions")
                by_line = sorted(one["lines"].items(), key=lambda item: -item[1]["instructions"])
                lines += [
                    f"  {100 * x['instructions'] / one['instructions']:5.1f} %  {place}:"
                    f" {x['sectors_read']} + {x['sectors_written']} sectors"
                    for place, x in by_line[:most]
                ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts of the CUDA kernels, without a GPU.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it")
    parser.add_argument("--kernel", help="show the dearest source lines of this kernel instead")
    parser.add_argument("--cupy", type=Path, help="the folder that holds cupyx, default: installed")
    arguments = parser.parse_args()
    if reason := ptx.available():
        raise SystemExit(f"nothing to execute: {reason}")
    cupy = arguments.cupy or cupy_kernels.installed()
    found = measure(cupy)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(dearest(found, arguments.kernel) if arguments.kernel else table(found))
    if cupy is None:
        print("\nCuPy is not installed: its PBA+ kernels were not counted.")


if __name__ == "__main__":
    main()
