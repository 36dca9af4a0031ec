"""A training step of small U-Nets, without and with the boundary loss, by each library."""

import numpy as np
import pytest
import torch

import fastdist
from benchmarks import inputs, ours, peers, training
from benchmarks.contest import Case, Entrant
from benchmarks.memory import kept_pages

pytestmark = pytest.mark.rank(10)

CASES = {  # labels, classes, channels by level
    "2-D U-Net, 4x1x256^2 slices, 2 classes": (
        lambda: inputs.lesions_2d(4),
        2,
        (8, 16, 32, 64),
    ),
    "3-D U-Net, 1x1x64^3, 5 classes": (
        lambda: inputs.classes((64, 64, 64), 5)[None],
        5,
        (8, 16, 32, 64),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_training_step(name, contest, full):
    make, classes, widths = CASES[name]
    image = make()
    labels = torch.from_numpy(image).long()
    images = torch.randn(len(labels), 1, *labels.shape[1:], generator=torch.manual_seed(0))
    step = training.TrainingStep(images, labels, classes, widths)
    want = np.stack([peers.scipy_class_maps(item, classes) for item in image])
    error = ours.difference(want, fastdist.signed_distance_maps(labels, classes))
    assert error <= 1e-6
    failed: dict[str, str] = {}
    field = [
        Entrant(loss_name, step.with_loss(loss), training.finite, warm_up=True)
        for loss_name, loss in training.losses(failed, full).items()
    ]
    case = Case(
        f"training step, {name}",
        "training step",
        field,
        labels.numel(),
        stretch=2,
        details={**step.details, "error_of_the_maps": error},
        missing=ours.missing("exacta", "monai"),
        beyond=training.ALONE,
        failed=failed,
    )
    with kept_pages():
        contest(case)
