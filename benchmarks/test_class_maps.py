"""All signed maps of a label image at once, from integers."""

import numpy as np
import pytest
import torch

import fastdist
from benchmarks import inputs, ours, peers
from benchmarks.contest import Case, Entrant

pytestmark = pytest.mark.rank(1)

CLASSES = 5


def test_five_classes(contest):
    ours.needed("scipy")
    labels = inputs.classes((256, 256, 256), CLASSES)
    oracle = ours.Once(lambda: peers.scipy_class_maps(labels, CLASSES))
    image = torch.from_numpy(labels)[None]
    out = torch.zeros((1, CLASSES, *labels.shape))

    def check(got):
        return ours.difference(oracle.want, np.asarray(got)[0])

    field = [
        Entrant(ours.OURS, lambda: fastdist.signed_distance_maps(image, CLASSES, out=out), check),
        Entrant(ours.FRESH, lambda: fastdist.signed_distance_maps(image, CLASSES), check),
        oracle.entrant,
    ]
    contest(
        Case(
            "class maps, 256^3, five classes",
            "class maps",
            field,
            labels.size,
            {ours.SCIPY: 60},
            details={"shape": list(labels.shape), "classes": CLASSES, "in": "uint8"},
        )
    )
