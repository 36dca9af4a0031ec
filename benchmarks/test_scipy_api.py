"""`distance_transform_edt` on NumPy arrays: float64 distances, as SciPy gives."""

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


@pytest.mark.parametrize("name", IMAGES)
def test_distance_transform_edt(name, contest):
    ours.needed("scipy")
    from scipy.ndimage import distance_transform_edt as theirs

    mask = IMAGES[name]()
    oracle = ours.Once(lambda: theirs(mask))
    distances = np.zeros(mask.shape)

    def into():
        fastdist.distance_transform_edt(mask, distances=distances)
        return distances

    def check(got):
        return ours.difference(oracle.want, got)

    fresh = Entrant(ours.FRESH, lambda: fastdist.distance_transform_edt(mask), check)
    contest(
        Case(
            f"distance_transform_edt, {name}",
            "distance_transform_edt, NumPy float64",
            [Entrant(OURS, into, check), fresh, oracle.entrant],
            mask.size,
            {SCIPY: 20},
            details={"shape": list(mask.shape), "in": "uint8", "out": "float64"},
        )
    )
