"""The boundary loss, forward and backward, on the device: 2 x 128^3 labels of several classes."""

import pytest
import torch

import fastdist
from benchmarks import ours, peers
from benchmarks.contest import Case
from benchmarks.gpu import peers as rivals
from benchmarks.test_boundary_loss import FLOOR, step

BATCH, SHAPE = 2, (128, 128, 128)
CASES = [  # classes, logits, rank
    (5, torch.float32, 2),
    (5, torch.bfloat16, 9),
    (4, torch.float32, 15),
    (16, torch.float32, 16),
]


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [pytest.param(c, d, id=f"C{c} {str(d)[6:]}", marks=pytest.mark.rank(r)) for c, d, r in CASES],
)
def test_boundary_loss(classes, dtype, stage, contest):
    shape = stage.size(SHAPE)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, classes, *shape, generator=generator).to(dtype)
    labels = stage.labels(BATCH, shape, classes).long()
    # Least traffic: logits and labels read once, the gradient written.
    bytes_moved = 2 * logits.numel() * logits.element_size() + 8 * labels.numel()
    sets = [one.requires_grad_() for one in stage.working_sets(logits, bytes_moved)]
    targets = labels.to(stage.device)
    constant = torch.randn(logits.shape, generator=generator).to(stage.device, dtype)
    mine = fastdist.losses.BoundaryLoss(softmax=True)

    def entrant(name, loss, check=None, **options):
        steps = [step(loss, one) for one in sets]
        return stage.entrant(
            name, lambda slot: steps[slot](), check=check, slots=len(sets), **options
        )

    def held_against(**convention):
        """Value and gradient of our CPU op in float64, of the same logits."""
        reference = logits.double().requires_grad_()
        loss = fastdist.losses.BoundaryLoss(softmax=True, **convention)
        value, gradient = step(lambda x: loss(x, labels), reference)()

        def error(result):
            got, slope = (one.detach().double().cpu() for one in result)
            return max(
                float((got - value).abs() / value.abs().clamp(min=1e-6)),
                float((slope - gradient).abs().max() / gradient.abs().max().clamp(min=1e-12)),
            )

        return error

    check = held_against()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    field = [
        entrant(ours.OURS, lambda x: mine(x, targets), check, tolerance=tolerance),
        entrant(FLOOR, lambda x: (x.softmax(1) * constant).mean()),
        rivals.copy_entrant(bytes_moved, stage.clock, len(sets), stage.device),
    ]
    floors = {FLOOR: 0.5}
    failed: dict[str, str] = {}
    if dtype == torch.float32:
        exacta = peers.tried(failed, peers.EXACTA, peers.exacta_loss, None)
        monai = peers.tried(failed, peers.MONAI, peers.monai_loss, None)
        if exacta is not None:
            same = held_against(zero="none", border=True, empty="diagonal")
            field.append(entrant(exacta[0], lambda x: exacta[1](x, targets), same))
            floors[exacta[0]] = 20
        slow = monai is not None and monai[0] != peers.MONAI_CUCIM
        if monai is not None and (not slow or (classes == 5 and stage.slow_peers)):
            field.append(entrant(monai[0], lambda x: monai[1](x, targets), check))
            floors[monai[0]] = 100
    contest(
        Case(
            f"boundary loss, forward + backward, B2 C{classes} 128^3 {str(dtype)[6:]}",
            "boundary loss",
            field,
            logits.numel(),
            stage.floors(floors),
            patience=3.0,
            details={
                "shape": list(logits.shape),
                "oracle": "the CPU op in float64",
                "bytes_moved": bytes_moved,
            },
            missing=ours.missing("exacta", "monai"),
            clock="device",
            failed=failed,
        )
    )
