"""A training step of a 3-D U-Net of nnU-Net's size, without and with the boundary loss."""

import pytest
import torch

import fastdist
from benchmarks import ours, peers, training, unet
from benchmarks.contest import Case
from benchmarks.gpu.stage import worst

BATCH, CLASSES, SHAPE = 2, 5, (128, 128, 128)


@pytest.mark.rank(3)
def test_training_step(stage, contest):
    """bfloat16 autocast, SGD with momentum; the losses take turns with one network."""
    shape = stage.size(SHAPE, least=32)
    widths = (4, 8, 8) if stage.rehearsal else unet.WIDTHS
    labels = stage.labels(BATCH, shape, CLASSES).long().to(stage.device)
    images = torch.randn(BATCH, 1, *shape, generator=torch.Generator().manual_seed(0))
    step = training.TrainingStep(images.to(stage.device), labels, CLASSES, widths)
    maps = fastdist.signed_distance_maps(labels, CLASSES)  # those that a step uses
    error = worst(fastdist.signed_distance_maps(labels.cpu(), CLASSES), maps.cpu())
    assert error <= 1e-6
    failed: dict[str, str] = {}
    field = [
        stage.entrant(name, step.with_loss(loss), check=training.finite)
        for name, loss in training.losses(failed).items()
        if stage.slow_peers or not name.endswith(peers.MONAI)
    ]
    contest(
        Case(
            "training step, 3-D U-Net, 2x1x128^3, 5 classes",
            "training step",
            field,
            labels.numel(),
            stage.floors({training.ALONE: 1 / 1.01}),
            patience=4.0,
            details={**step.details, "error_of_the_maps": error, "oracle": "the CPU op"},
            missing=ours.missing("exacta", "monai"),
            beyond=training.ALONE,
            clock="device",
            failed=failed,
        )
    )
