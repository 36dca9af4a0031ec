"""Distances and indices of the nearest zero on NumPy arrays, at spacings that images have.

float64 distances and int32 indices, as SciPy gives (bioimage-cpp: float32 distances). What is far
from any zero, the outside of lesions, is what a search along the axes pays for.
"""

import numpy as np
import pytest

import fastdist
from benchmarks import inputs, ours
from benchmarks.contest import Case, Entrant
from benchmarks.ours import BIOIMAGE, OURS, SCIPY

pytestmark = pytest.mark.rank(31)

IMAGES = {
    "96^3 outside of lesions": lambda: 1 - inputs.lesions_3d(size=96),
    "96^3 blobs": lambda: inputs.blobs((96, 96, 96)),
    "128^3 outside of lesions": lambda: 1 - inputs.lesions_3d(),
    "128^3 blobs": lambda: inputs.blobs((128, 128, 128)),
    "256x256x17 outside of lesions": lambda: 1 - inputs.specks((256, 256, 17)),
    "512x512x17 outside of lesions": lambda: 1 - inputs.specks((512, 512, 17)),
    "768^2 outside of vessels": lambda: 1 - inputs.vessels((768, 768)),
    "768^2 blobs": lambda: inputs.blobs((768, 768), grain=32),
    "2048^2 outside of vessels": lambda: 1 - inputs.vessels((2048, 2048)),
}
# How many times SciPy and bioimage-cpp we mean to be, with one thread and AVX2.
WHOLE, ANY = {SCIPY: 8.0, BIOIMAGE: 3.0}, {SCIPY: 5.0, BIOIMAGE: 2.0}
CASES = [
    ("96^3 outside of lesions", 1, WHOLE),
    ("96^3 outside of lesions", (2, 1, 1), WHOLE),
    ("96^3 outside of lesions", (0.8, 0.46875, 0.46875), ANY),
    ("96^3 outside of lesions", (1.25, 1, 1), ANY),
    ("96^3 outside of lesions", (0.7421, 0.5859375, 1.2500001), ANY),
    ("96^3 blobs", (0.8, 0.46875, 0.46875), ANY),
    ("128^3 outside of lesions", 1, WHOLE),
    ("128^3 blobs", 1, WHOLE),
    ("256x256x17 outside of lesions", (0.5859, 0.5859, 3.3), ANY),
    ("512x512x17 outside of lesions", (0.5859, 0.5859, 3.3), ANY),
    ("768^2 outside of vessels", 1, WHOLE),
    ("768^2 blobs", 1, WHOLE),
    ("768^2 outside of vessels", (0.07, 0.1), ANY),
    ("768^2 blobs", (0.07, 0.1), ANY),
    ("2048^2 outside of vessels", 1, WHOLE),
]


def named(case) -> str:
    image, spacing, _ = case
    return f"indices, {image}, spacing {spacing}".replace(", 0.", ", .").replace("(0.", "(.")


@pytest.mark.parametrize("case", CASES, ids=named)
def test_indices(case, contest, threads):
    ours.needed("scipy")
    from scipy.ndimage import distance_transform_edt as theirs

    image, spacing, floors = case
    mask = IMAGES[image]()
    steps = np.broadcast_to(np.asarray(spacing, np.float64), mask.ndim)
    oracle = ours.Once(lambda: theirs(mask, spacing, return_indices=True))
    distances, nearest = np.zeros(mask.shape), np.zeros((mask.ndim, *mask.shape), np.int32)
    own = np.indices(mask.shape, sparse=True)

    def into():
        fastdist.distance_transform_edt(
            mask, spacing, return_indices=True, distances=distances, indices=nearest
        )
        return distances, nearest

    def check(got):
        reached, indices = got
        assert not mask[tuple(indices)].any(), "an index of no zero"
        squared = sum(
            ((there - here) * step) ** 2
            for there, here, step in zip(indices, own, steps, strict=True)
        )
        worst = ours.difference(oracle.want[0], np.sqrt(squared))
        return max(worst, ours.difference(oracle.want[0], reached))

    def check_ours(got):
        if floors is WHOLE:
            assert np.array_equal(got[1], oracle.want[1]), "indices differ from SciPy's"
        return check(got)

    entrants = [Entrant(OURS, into, check_ours, tolerance=1e-12), oracle.entrant]
    entrants += ours.bioimage(mask, spacing, threads, check)
    contest(
        Case(
            named(case),
            "indices, NumPy float64",
            entrants,
            mask.size,
            floors,
            missing=ours.missing("bioimage_cpp"),
            details={"shape": list(mask.shape), "spacing": steps.tolist()},
        )
    )
