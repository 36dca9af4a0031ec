"""Signed maps of all classes of integer labels, on the device."""

from functools import partial

import pytest
import torch

import fastdist
from benchmarks import ours, peers, real
from benchmarks.contest import Case
from benchmarks.gpu import peers as rivals
from benchmarks.gpu.stage import worst

BATCH, SHAPE = 2, (128, 128, 128)
MOST = 16  # classes of a real map


@pytest.mark.parametrize(
    "classes", [pytest.param(c, marks=pytest.mark.rank(8 + i)) for i, c in enumerate((5, 4, 16))]
)
def test_class_maps(classes, stage, contest):
    shape = stage.size(SHAPE)
    name = f"class maps, 2 x 128^3, {classes} classes"
    contest(_case(name, stage.labels(BATCH, shape, classes), classes, None, stage))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.rank(50 + i)) for i, n in enumerate(real.small())]
)
def test_classes_of_real_labels(name, stage, contest):
    labels = real.load(real.small()[name])
    image, classes = labels.consecutive(MOST)
    if stage.rehearsal:
        image = image[(slice(None), *(slice(40) for _ in image.shape[1:]))].copy()
    spacing = None if set(labels.spacing) == {1.0} else labels.spacing
    case = f"class maps, real, {name}, {classes} classes"
    contest(_case(case, torch.from_numpy(image), classes, spacing, stage))


def _case(name, labels, classes, spacing, stage):
    """(n, *S) uint8 labels on the CPU; the oracle is the CPU op, which SciPy holds elsewhere."""
    voxels = labels.numel() * classes
    bytes_moved = labels.numel() + 4 * voxels
    sets = stage.working_sets(labels, bytes_moved)
    outs = stage.outputs(sets, (len(labels), classes, *labels.shape[1:]))
    want = fastdist.signed_distance_maps(labels, classes, spacing).to(stage.device)

    def call(slot):
        return fastdist.signed_distance_maps(sets[slot], classes, spacing, out=outs[slot])

    check = partial(worst, want)
    mine = stage.entrant(ours.OURS, call, check=check, slots=len(sets), tolerance=1e-6)
    field = [mine, rivals.copy_entrant(bytes_moved, stage.clock, len(sets), stage.device)]
    present = [[(s == k).to(torch.uint8) for k in range(classes)] for s in sets]
    channels = [torch.stack(one, 1) for one in present]  # (n, C, *S): the others' input, beforehand
    failed: dict[str, str] = {}
    flags = channels[0].flatten(2)
    details = {"shape": list(labels.shape), "classes": classes, "sampling": spacing}
    if bool((flags.amin(2) < flags.amax(2)).all()):  # else the others are not defined
        flat = [one.flatten(0, 1) for one in channels]
        same = partial(worst, want.flatten(0, 1))
        cupy = partial(rivals.cupy_entrants, flat, labels.dim() - 1, spacing, same, stage.clock)
        found, chosen = peers.tried(failed, rivals.CUPY, cupy, ([], {}))
        details.update(chosen)
        theirs = fastdist.signed_distance_maps(
            channels[0].cpu(), classes, spacing, onehot=True, zero="none", border=True,
            empty="diagonal",
        ).to(stage.device)  # fmt: skip
        exacta = partial(rivals.exacta_maps, channels, spacing, partial(worst, theirs), stage.clock)
        field += found + peers.tried(failed, peers.EXACTA, exacta, [])
    return Case(
        name,
        "class maps",
        field,
        voxels,
        stage.floors({rivals.TUNED: 1}),
        patience=3.0,
        details={**details, "oracle": "the CPU op", "bytes_moved": bytes_moved},
        missing=ours.missing("cupy", "exacta"),
        clock="device",
        failed=failed,
    )
