"""One training step's boundary loss: logits and labels in, loss and gradient out."""

import pytest
import torch

import fastdist
from benchmarks import inputs, ours, peers
from benchmarks.contest import Case, Entrant

pytestmark = pytest.mark.rank(0)

BATCH, CLASSES, SHAPE = 2, 5, (128, 128, 128)
FLOOR = "softmax times a constant"


def step(loss, logits):
    """Forward and backward; the gradient starts anew, as in training."""

    def call():
        logits.grad = None
        value = loss(logits)
        value.backward()
        return value.detach(), logits.grad

    return call


def test_boundary_loss(contest):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, CLASSES, *SHAPE, generator=generator).requires_grad_()
    labels = torch.stack(
        [torch.from_numpy(inputs.classes(SHAPE, CLASSES, seed=100 * i)) for i in range(BATCH)]
    ).long()
    constant = torch.randn(logits.shape, generator=generator)
    check = _error_against(_by_scipy(logits, labels))
    mine = fastdist.losses.BoundaryLoss(softmax=True)
    field = [
        Entrant(ours.OURS, step(lambda x: mine(x, labels), logits), check),
        Entrant(FLOOR, step(lambda x: (x.softmax(1) * constant).mean(), logits)),
    ]
    failed: dict[str, str] = {}
    exacta = peers.tried(failed, peers.EXACTA, peers.exacta_loss, None)
    if exacta is not None:  # its convention is another: it is held against ours in that one
        same = fastdist.losses.BoundaryLoss(
            softmax=True, zero="none", border=True, empty="diagonal"
        )
        its_check = _error_against(step(lambda x: same(x, labels), logits)())
        field.append(Entrant(exacta[0], step(lambda x: exacta[1](x, labels), logits), its_check))
    monai = peers.tried(failed, peers.MONAI, peers.monai_loss, None)
    if monai is not None:
        field.append(Entrant(monai[0], step(lambda x: monai[1](x, labels), logits), check))
    contest(
        Case(
            "boundary loss, forward + backward, B2 C5 128^3 float32",
            "boundary loss",
            field,
            BATCH * CLASSES * SHAPE[0] ** 3,
            {peers.EXACTA: 10, peers.MONAI: 20},
            details={"shape": list(logits.shape), "in": "float32 logits, int64 labels"},
            missing=ours.missing("exacta", "monai"),
            failed=failed,
        )
    )


def _error_against(reference):
    """The larger of the relative errors of value and gradient."""

    def error(result):
        value, gradient = result
        return max(
            float((value - reference[0]).abs() / reference[0].abs()),
            float((gradient - reference[1]).abs().max() / reference[1].abs().max()),
        )

    return error


def _by_scipy(logits, labels):
    """Value and gradient in float64, from SciPy's maps."""
    maps = torch.stack(
        [torch.from_numpy(peers.scipy_class_maps(item.numpy(), CLASSES)) for item in labels]
    )
    probabilities = logits.detach().double().softmax(1)
    value = (probabilities * maps).mean()
    inner = (probabilities * maps).sum(1, keepdim=True)
    return value, (probabilities * (maps - inner) / maps.numel()).float()
