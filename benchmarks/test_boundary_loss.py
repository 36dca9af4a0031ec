"""One training step's boundary loss: logits and labels in, loss and gradient out."""

import warnings

import torch

import fastdist
from benchmarks import inputs, ours, peers
from benchmarks.contest import Case, Entrant

BATCH, CLASSES, SHAPE = 2, 5, (128, 128, 128)
EXACTA = "exacta 0.0.1a5"
MONAI = "MONAI 1.6.1"
FLOOR = "softmax times a constant"


def step(loss, logits):
    """Forward and backward; the gradient starts anew, as in training."""

    def call():
        logits.grad = None
        value = loss(logits)
        value.backward()
        return value.detach(), logits.grad

    return call


def test_boundary_loss(contest, full):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, CLASSES, *SHAPE, generator=generator).requires_grad_()
    labels = torch.stack(
        [torch.from_numpy(inputs.classes(SHAPE, CLASSES, seed=100 * i)) for i in range(BATCH)]
    ).long()[:, None]
    constant = torch.randn(logits.shape, generator=generator)
    reference = _by_scipy(logits, labels)

    def error(result):
        value, gradient = result
        return max(
            float((value - reference[0]).abs() / reference[0].abs()),
            float((gradient - reference[1]).abs().max() / reference[1].abs().max()),
        )

    mine = fastdist.losses.BoundaryLoss(softmax=True, to_onehot_y=True)
    field = [
        Entrant(ours.OURS, step(lambda x: mine(x, labels), logits), error),
        Entrant(FLOOR, step(lambda x: (x.softmax(1) * constant).mean(), logits)),
        *_exacta(logits, labels),
        *_monai(logits, labels, error),
    ]
    contest(
        Case(
            "boundary loss, forward + backward, B2 C5 128^3 float32",
            "boundary loss",
            field,
            BATCH * CLASSES * SHAPE[0] ** 3,
            {entrant.name: {EXACTA: 10, MONAI: 20}[entrant.name] for entrant in field[2:]},
            details={"shape": list(logits.shape), "in": "float32 logits, int64 labels"},
            missing=ours.missing("exacta", "monai"),
        )
    )


def _by_scipy(logits, labels):
    """Value and gradient in float64, from SciPy's maps."""
    maps = torch.stack(
        [torch.from_numpy(peers.scipy_class_maps(item[0].numpy(), CLASSES)) for item in labels]
    )
    probabilities = logits.detach().double().softmax(1)
    value = (probabilities * maps).mean()
    inner = (probabilities * maps).sum(1, keepdim=True)
    return value, (probabilities * (maps - inner) / maps.numel()).float()


def _exacta(logits, labels):
    if peers.module("exacta") is None:
        return []
    from exacta.losses import BoundaryLoss

    theirs = BoundaryLoss(activation="softmax", target_format="index", include_background=True)
    loss = step(lambda x: theirs(x, labels[:, 0], spacing=(1.0, 1.0, 1.0)), logits)
    # Another convention (no shift inside, background outside the image): its value is not ours.
    return [Entrant(EXACTA, loss)]


def _monai(logits, labels, error):
    if peers.module("monai") is None:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import BoundaryLoss

    theirs = BoundaryLoss(softmax=True, to_onehot_y=True)
    return [Entrant(MONAI, step(lambda x: theirs(x, labels), logits), error)]
