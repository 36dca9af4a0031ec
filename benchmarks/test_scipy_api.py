"""`distance_transform_edt` on NumPy arrays: float64 distances and int32 indices, as SciPy gives."""

import numpy as np
import pytest

import fastdist
from benchmarks import inputs, ours
from benchmarks.contest import Case, Entrant
from benchmarks.ours import OURS, SCIPY

pytestmark = pytest.mark.rank(30)

IMAGES = {
    "128^3 blobs": lambda: inputs.blobs((128, 128, 128)),
    "2048^2 blobs": lambda: inputs.blobs((2048, 2048), grain=32),
    "128^3 outside of lesions": lambda: 1 - inputs.lesions_3d(),
    "2048^2 outside of vessels": lambda: 1 - inputs.vessels((2048, 2048)),
}


@pytest.mark.parametrize("indices", [False, True], ids=["distances", "with indices"])
@pytest.mark.parametrize("name", IMAGES)
def test_distance_transform_edt(name, indices, contest):
    ours.needed("scipy")
    from scipy.ndimage import distance_transform_edt as theirs

    mask = IMAGES[name]()
    oracle = ours.Once(lambda: theirs(mask, return_indices=indices))
    distances = np.zeros(mask.shape)
    nearest = np.zeros((mask.ndim, *mask.shape), np.int32) if indices else None

    def into():
        fastdist.distance_transform_edt(
            mask, return_indices=indices, distances=distances, indices=nearest
        )
        return (distances, nearest) if indices else distances

    def check(got):
        if not indices:
            return ours.difference(oracle.want, got)
        assert np.array_equal(got[1], oracle.want[1]), "indices differ from SciPy's"
        return ours.difference(oracle.want[0], got[0])

    fresh = Entrant(
        "fastdist, new output",
        lambda: fastdist.distance_transform_edt(mask, return_indices=indices),
        check,
    )
    kind = "indices" if indices else "distance_transform_edt"
    contest(
        Case(
            f"distance_transform_edt, {name}{', with indices' if indices else ''}",
            f"{kind}, NumPy float64",
            [Entrant(OURS, into, check), fresh, oracle.entrant],
            mask.size,
            {SCIPY: 6 if indices else 20},
            details={"shape": list(mask.shape), "in": "uint8", "out": "float64"},
        )
    )
