"""Signed maps of masks on the device: every size with blobs, and the inputs meant to be slow."""

from functools import partial

import numpy as np
import pytest
import torch

import fastdist
from benchmarks import ours, peers, real
from benchmarks.contest import Case
from benchmarks.gpu import clock as clocks
from benchmarks.gpu import peers as rivals
from benchmarks.gpu import targets
from benchmarks.gpu.stage import images, worst

SHAPES = {  # batch, shape of one image; in the order of what is asked first
    "256^3": (1, (256, 256, 256)),
    "8 x 128^3": (8, (128, 128, 128)),
    "16 x 256^2": (16, (256, 256)),
    "512^3": (1, (512, 512, 512)),
    "256 x 1024^2": (256, (1024, 1024)),
    "4096^2": (1, (4096, 4096)),
    "32 x 512^2": (32, (512, 512)),
    "128^3": (1, (128, 128, 128)),
    "512x512x64": (1, (512, 512, 64)),
    "160x192x80": (1, (160, 192, 80)),
    "64^3": (1, (64, 64, 64)),
}
INPUTS = {
    "blobs": "blobs",
    "50 %": "noise 50 %",
    "one seed in a corner": "seed in a corner",
    "0.01 %": "noise 0.01 %",
    "1 %": "noise 1 %",
    "full": "full",
    "empty": "empty",
}
FIRST = 7  # sizes whose blobs come before everything else
SCIPY_UP_TO = 256**3
SMALL = 2**21  # voxels up to which SciPy is the oracle even where it is not timed
GRAPH = "fastdist, CUDA graph"
GRAPHED = 2**22  # voxels up to which launches may matter


def _rank(size: int, image: int) -> int:
    """Blobs of the first sizes, then every input at the first size, then the rest by size."""
    if image == 0:
        return size if size < FIRST else 20 + size
    return 10 + image if size == 0 else 100 + 10 * size + image


CASES = [
    pytest.param(size, image, id=f"{size} {image}", marks=pytest.mark.rank(_rank(i, j)))
    for i, size in enumerate(SHAPES)
    for j, image in enumerate(INPUTS)
]


@pytest.mark.parametrize(("size", "image"), CASES)
def test_signed_map(size, image, stage, contest):
    batch, shape = SHAPES[size]
    masks = images(INPUTS[image], stage.count(batch), stage.size(shape))
    blobs = image == "blobs"
    voxels = masks.numel()
    ceiling = targets.microseconds(size, stage.name) if blobs else None
    limit = ceiling * 1e3 / voxels if ceiling else None
    timed = blobs and voxels <= SCIPY_UP_TO and batch == 1 and stage.slow_peers
    contest(
        _case(f"signed map, {size} {image}", masks, None, stage, timed, limit, 20 if blobs else 1)
    )


REAL = [*real.small(), *real.large()]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.rank(30 + i)) for i, n in enumerate(["lesions_19", *REAL])],
)
def test_real_map(name, stage, contest):
    """The foreground of real label maps, at their own spacing."""
    if name == "lesions_19":
        from benchmarks.inputs import lesions_3d

        masks, spacing = lesions_3d()[None], None
    else:
        labels = real.load({**real.small(), **real.large()}[name])
        masks, spacing = labels.mask, labels.spacing
        spacing = None if set(spacing) == {1.0} else spacing
    if stage.rehearsal:
        masks = masks[(slice(2), *(slice(40) for _ in masks.shape[1:]))]
    masks = torch.from_numpy(np.ascontiguousarray(masks))
    contest(_case(f"signed map, real, {name}", masks, spacing, stage, False, None, 1))


def _case(name, masks, spacing, stage, scipy_timed, ceiling, factor):
    """(n, *S) masks on the CPU; the oracle is SciPy, or our CPU op where that would take long."""
    ndim, voxels = masks.dim() - 1, masks.numel()
    bytes_moved = 5 * voxels  # a byte read, a float32 written
    constant = bool((masks.flatten(1).amin(1) == masks.flatten(1).amax(1)).any())
    sets = stage.working_sets(masks, bytes_moved)
    outs = stage.outputs(sets, masks.shape)
    slots = len(sets)

    def call(slot):
        return fastdist.signed_distance(sets[slot], spacing, ndim=ndim, out=outs[slot])

    scipy = partial(_scipy, masks.numpy(), spacing)
    oracle = "SciPy" if scipy_timed or voxels <= SMALL else "the CPU op"
    if oracle == "SciPy":
        want = torch.from_numpy(scipy()).float()
    else:
        want = fastdist.signed_distance(masks, spacing, ndim=ndim)
    check = partial(worst, want.to(stage.device))
    mine = stage.entrant(ours.OURS, call, check=check, slots=slots, tolerance=1e-6)
    field = [mine, rivals.copy_entrant(bytes_moved, stage.clock, slots, stage.device)]
    details = {"shape": list(masks.shape), "sampling": spacing, "oracle": oracle}
    failed: dict[str, str] = {}
    if voxels <= GRAPHED and stage.clock.kind == "cuda":
        field += peers.tried(failed, GRAPH, lambda: [clocks.graph(GRAPH, mine)], [])
    if not constant:  # the others' answers to an image without a boundary are not defined
        cupy = partial(rivals.cupy_entrants, sets, ndim, spacing, check, stage.clock)
        found, chosen = peers.tried(failed, rivals.CUPY, cupy, ([], {}))
        details.update(chosen)
        unshifted = fastdist.signed_distance(
            masks, spacing, ndim=ndim, zero="none", border=True, empty="diagonal"
        )
        same = partial(worst, unshifted.to(stage.device)[:, None])
        channels = [one[:, None] for one in sets]
        exacta = partial(rivals.exacta_maps, channels, spacing, same, stage.clock)
        field += found + peers.tried(failed, peers.EXACTA, exacta, [])
    if scipy_timed:
        field.append(clocks.HostEntrant(ours.SCIPY, call=lambda slot: scipy(), clock=stage.clock))
    return Case(
        name,
        f"signed map, {ndim}-D",
        field,
        voxels,
        stage.floors({rivals.TUNED: factor}),
        ceiling,
        patience=3.0,
        details={**details, "bytes_moved": bytes_moved},
        missing=ours.missing("cupy", "exacta"),
        clock="device",
        failed=failed,
    )


def _scipy(masks, spacing):
    return np.stack([peers.scipy_signed(mask, spacing) for mask in masks])
