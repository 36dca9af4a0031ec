"""Distance to the nearest voxel with another label, of real label maps, at their own spacing."""

from functools import partial

import numpy as np
import pytest
import torch

import fastdist
from benchmarks import ours, peers, real
from benchmarks.contest import Case, Entrant

pytestmark = pytest.mark.rank(45)


@pytest.mark.parametrize("name", ["spine_instances", "subcortical", "nuclei", "axon_myelin"])
def test_labels(name, contest, threads):
    ours.needed("scipy")
    ours.needed("edt")
    (labels,), spacing = real.load(real.small()[name])
    labels = np.ascontiguousarray(labels.astype(np.int32))
    ndim = labels.ndim
    oracle = ours.Once(lambda: _by_scipy(labels, spacing))
    check = partial(ours.difference, oracle.want)
    image, out, marked = torch.from_numpy(labels), torch.zeros(labels.shape), labels + 1
    field = [
        Entrant(ours.OURS, lambda: fastdist.edt_labels(image, spacing, ndim=ndim, out=out), check),
        Entrant(ours.FRESH, lambda: fastdist.edt_labels(image, spacing, ndim=ndim), check),
        Entrant(
            "edt.edt(labels + 1)",
            lambda: peers.edt_unsigned(marked, spacing, threads),
            check,
        ),
        oracle.entrant,
    ]
    contest(
        Case(
            f"labels, {name}",
            "labels",
            field,
            labels.size,
            details={
                "shape": list(labels.shape),
                "sampling": spacing,
                "labels": len(np.unique(labels)),
            },
        )
    )


def _by_scipy(labels, spacing):
    """One transform a label: SciPy has no other way."""
    from scipy.ndimage import distance_transform_edt

    found = np.zeros(labels.shape)
    for label in np.unique(labels):
        inside = labels == label
        found[inside] = distance_transform_edt(inside, spacing)[inside]
    return found
