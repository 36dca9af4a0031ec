"""What stands between Python and the kernels: calls too small for anything else to take time."""

import pytest
import torch

import fastdist
from benchmarks import ours
from benchmarks.contest import Case, Entrant

pytestmark = pytest.mark.rank(5)

LOGITS = (2, 5, 16, 16)
CROSS_ENTROPY = "cross entropy"


def step(loss, logits):
    """Forward and backward, the gradient added to what is there: no more than what a loss costs."""

    def call():
        value = loss(logits)
        value.backward()
        return value.detach()

    return call


def test_small_boundary_loss(contest):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(LOGITS, generator=generator).requires_grad_()
    labels = torch.randint(0, LOGITS[1], (LOGITS[0], *LOGITS[2:]), generator=generator)
    maps = fastdist.signed_distance_maps(labels, LOGITS[1])
    expected = (logits.detach().double().softmax(1) * maps).mean()
    mine = fastdist.losses.BoundaryLoss(softmax=True)
    contest(
        Case(
            "boundary loss, forward + backward, B2 C5 16^2 float32",
            "small call",
            [
                Entrant(
                    ours.OURS,
                    step(lambda x: mine(x, labels), logits),
                    lambda value: float((value - expected).abs()),
                ),
                Entrant(
                    CROSS_ENTROPY,
                    step(lambda x: torch.nn.functional.cross_entropy(x, labels), logits),
                ),
            ],
            logits.numel(),
            {CROSS_ENTROPY: 1 / 3},  # at most three times its time
            details={"shape": list(LOGITS), "in": "float32 logits, int64 labels"},
        )
    )
