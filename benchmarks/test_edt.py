"""Distances to the nearest background of a mask, float32, against every library that offers them.

kornia, torchmetrics and FastGeodis are shown as what they are: approximate, with their error.
"""

from functools import partial

import numpy as np
import pytest
import torch

import fastdist
from benchmarks import inputs, ours, peers
from benchmarks.contest import Case, Entrant

pytestmark = pytest.mark.rank(40)

SHAPES = {
    "96^2": (96, 96),
    "64x144": (64, 144),
    "512^2": (512, 512),
    "1021x1531": (1021, 1531),
    "64^3": (64, 64, 64),
    "97x101x89": (97, 101, 89),
    "128^3": (128, 128, 128),
}
APPROXIMATE_UP_TO = 2**18  # voxels: kornia's rounds grow with the image


@pytest.mark.parametrize("name", SHAPES)
def test_edt(name, contest, threads, full):
    ours.needed("scipy")
    from scipy.ndimage import distance_transform_edt

    mask = inputs.blobs(SHAPES[name], 0.7)
    image, out = torch.from_numpy(mask), torch.zeros(mask.shape)
    ndim = mask.ndim
    oracle = ours.Once(lambda: distance_transform_edt(mask))
    check = partial(ours.difference, oracle.want)
    field = [
        Entrant(ours.OURS, lambda: fastdist.edt(image, ndim=ndim, out=out), check),
        Entrant(ours.FRESH, lambda: fastdist.edt(image, ndim=ndim), check),
        oracle.entrant,
        ours.floor_entrant(mask),
    ]
    if peers.module("edt") is not None:
        call = partial(peers.edt_unsigned, mask, None, threads)
        field.append(Entrant("edt.edt", call, check))
    if ndim == 2 and (cv2 := peers.module("cv2")) is not None:
        call = partial(cv2.distanceTransform, mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        field.append(Entrant(ours.OPENCV, call, check, tolerance=1e-3))
    if peers.module("diplib") is not None:
        field.append(Entrant("DIPlib", peers.diplib_transform(mask, threads), check))
    if full or mask.size <= APPROXIMATE_UP_TO:
        field += [
            Entrant(who, call, check, exact=False)
            for who, call in peers.approximate_transforms(mask).items()
        ]
    contest(
        Case(
            f"edt, {name} blobs",
            f"edt, {ndim}-D",
            field,
            mask.size,
            details={"shape": list(mask.shape), "foreground": float(np.mean(mask))},
            missing=ours.missing("edt", "cv2", "diplib", "kornia", "torchmetrics", "FastGeodis"),
        )
    )
