"""How far from the exact map others are: kornia's, a truncated one, a cached one warped."""

import numpy as np
import pytest

from benchmarks import errors, ours, peers

pytestmark = pytest.mark.rank(2)


def test_errors_of_maps(keep, threads):
    ours.needed("scipy")
    found = errors.maps()
    mask = errors.lesions()
    assert np.abs(found["exact"].got - peers.scipy_signed(mask)).max() < 1e-4
    keep(
        "errors of maps, lesions of patient 19",
        {
            "task": "errors of maps",
            "voxels": mask.size,
            "errors": {name: one.summary() for name, one in found.items()},
            "floors": {},
            "missing": ours.missing("kornia"),
        },
    )
