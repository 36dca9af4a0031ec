"""The gradient of the boundary loss: right in float64, no worse than torch's in half precision."""

from itertools import product

import loss_oracle
import pytest
import torch
from loss_oracle import ACTIVATIONS, lesion_labels, settings, with_gradient

from fastdist import signed_distance_maps
from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss

CONVENTIONS = [
    {"zero": "shifted"},
    {"zero": "unit", "spacing": (0.5, 2.0)},
    {"zero": "inner", "empty": "diagonal"},
    {"zero": "midpoint", "normalize": "max", "border": True},
    {"zero": "none", "normalize": "diagonal", "clip": 2.0, "full": "diagonal"},
]
HALF = [torch.float16, torch.bfloat16]


def logits_like(labels, num_classes, dtype=torch.float64, seed=0):
    shape = (len(labels), num_classes, *labels.shape[1:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c["zero"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck(activation, convention, provider):
    labels = lesion_labels(2, (3, 4), 3)
    known = torch.ones(labels.shape, dtype=torch.bool)
    known[0, 1, 1:] = False
    logits = logits_like(labels, 3).requires_grad_()
    for more in (
        {},
        {"include_background": False, "mask": known, "reduction": "none"},
        {"batch": True, "offset": True, "ignore_index": 2, "reduction": "sum"},
    ):
        arguments = settings(activation) | convention | more
        assert torch.autograd.gradcheck(
            lambda z, arguments=arguments: boundary_loss(z, labels, **arguments),
            (logits,),
            fast_mode=bool(more) or convention["zero"] != "shifted",
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck_of_given_maps(activation, provider):
    labels = lesion_labels(2, (3, 4), 3)
    logits = logits_like(labels, 3).requires_grad_()
    maps = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    loss = BoundaryLoss(**settings(activation), include_background=False, reduction="none")
    assert torch.autograd.gradcheck(lambda z: loss(z, labels, dist_map=maps), (logits,))


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_errs_at_most_twice_as_much_as_plain_torch(dtype, activation, provider):
    labels = lesion_labels(2, (15, 16), 3)
    logits = 3 * logits_like(labels, 3, torch.float32)
    half = logits.to(dtype)
    maps = signed_distance_maps(labels, 3)
    voxels = labels[0].numel()

    def plain(z):
        return (ACTIVATIONS[activation](z) * maps.to(z.dtype)).flatten(2).sum(2) / voxels

    exact, exact_gradient = with_gradient(plain, half.double())
    torchs, torchs_gradient = with_gradient(plain, half)
    ours, ours_gradient = with_gradient(
        lambda z: boundary_loss(z, labels, reduction="none", **settings(activation)), half
    )
    assert ours.dtype == torch.float32
    assert ours_gradient.dtype == dtype

    def error(value, truth):
        return (value.double() - truth).abs().max().item()

    assert error(ours, exact) <= 2 * error(torchs, exact)
    assert error(ours_gradient, exact_gradient) <= 2 * error(torchs_gradient, exact_gradient)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_autocast_does_not_touch_the_logits(dtype, provider):
    labels = lesion_labels(2, (7, 9), 3)
    loss = BoundaryLoss(softmax=True)
    for logits in (logits_like(labels, 3, dtype), logits_like(labels, 3, torch.float32)):
        expected, expected_gradient = with_gradient(lambda z: loss(z, labels), logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value, gradient = with_gradient(lambda z: loss(z, labels), logits)
        assert value.dtype == torch.float32
        assert torch.equal(value, expected)
        assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF], ids=str)
def test_a_nan_reaches_the_sums_and_its_own_voxel(dtype, activation, provider):
    labels = lesion_labels(2, (5, 9), 3)
    logits = logits_like(labels, 3, dtype)
    logits[1, 2, 3, 4] = torch.nan
    value, gradient = with_gradient(
        lambda z: boundary_loss(z, labels, reduction="none", **settings(activation)), logits
    )
    expected = torch.zeros(2, 3, dtype=torch.bool)
    expected[1] = True if activation == "softmax" else torch.tensor([False, False, True])
    assert torch.equal(value.isnan(), expected)
    wrong = torch.zeros(gradient.shape, dtype=torch.bool)
    if activation == "softmax":
        wrong[1, :, 3, 4] = True
    elif activation == "sigmoid":
        wrong[1, 2, 3, 4] = True
    assert torch.equal(gradient.isnan(), wrong)
    assert gradient[~wrong].isfinite().all()


@pytest.mark.parametrize(
    ("kind", "activation"),
    [
        *product(["ignore_index", "mask", "both", "channels"], ACTIVATIONS),
        *product(["single channel"], ["none", "sigmoid", "other_act"]),
    ],
)
def test_ignored_voxels_take_no_part_whatever_their_logits(kind, activation, provider):
    labels = lesion_labels(2, (6, 7), 3)
    known = torch.rand(labels.shape, generator=torch.Generator().manual_seed(5)) > 0.25
    foreground = loss_oracle.channels(labels, 3)
    arguments: dict = settings(activation)
    target = labels
    if kind == "ignore_index":
        target = labels.masked_fill(~known, 255)
        arguments["ignore_index"] = 255
    elif kind == "both":
        target = labels.clone()
        target[0][~known[0]] = -1
        arguments |= {"ignore_index": -1, "mask": known.clone()}
        arguments["mask"][0] = True
    elif kind == "mask":
        target = labels.masked_fill(~known, 99)  # what is masked out may be anything
        arguments["mask"] = known.unsqueeze(1).float()
    elif kind == "channels":
        target = foreground.float()
        arguments["mask"] = known
    else:
        foreground = (labels == 1).unsqueeze(1)
        target = foreground[:, 0].int().masked_fill(~known, 255)
        arguments["ignore_index"] = 255
    clean = logits_like(labels, foreground.shape[1])
    dirty = clean.masked_fill(~known.unsqueeze(1), torch.nan)
    dirty[:, :, 0] = dirty[:, :, 0].nan_to_num(torch.inf)
    for reduction, batch in (("none", False), ("none", True), ("mean", False)):
        ours = {**arguments, "reduction": reduction, "batch": batch}
        value, gradient = with_gradient(
            lambda z, ours=ours: boundary_loss(z, target, **ours), dirty
        )
        expected, expected_gradient = with_gradient(
            lambda z, reduction=reduction, batch=batch: loss_oracle.loss(
                z, foreground, known, activation=activation, reduction=reduction, batch=batch
            ),
            clean,
        )
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, expected_gradient)
        assert (gradient.masked_select(~known.unsqueeze(1)) == 0).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_known_scores_zero_without_gradient(reduction, activation, provider):
    labels = lesion_labels(2, (5, 6), 3)
    labels[1] = 255
    logits = logits_like(labels, 3, torch.float32)
    logits[1] = torch.nan
    arguments = settings(activation) | {"ignore_index": 255, "reduction": reduction}
    value, gradient = with_gradient(lambda z: boundary_loss(z, labels, **arguments), logits)
    alone, alone_gradient = with_gradient(
        lambda z: boundary_loss(z, labels[1:], **arguments), logits[1:]
    )
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient[1] == 0).all()
    assert (alone == 0).all()
    assert (alone_gradient == 0).all()


@pytest.mark.parametrize("given_maps", [False, True])
def test_double_backward_is_refused(given_maps, provider):
    labels = lesion_labels(1, (5, 6), 3)
    logits = logits_like(labels, 3, torch.float32).requires_grad_()
    maps = torch.randn(1, 3, 5, 6) if given_maps else None
    value = BoundaryLoss(softmax=True)(logits, labels, dist_map=maps)
    (gradient,) = torch.autograd.grad(value, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        gradient.sum().backward()


def test_the_target_gets_no_gradient(provider):
    logits = torch.randn(2, 3, 5, 6, requires_grad=True)
    target = torch.rand(2, 3, 5, 6, requires_grad=True)
    BoundaryLoss(softmax=True)(logits, target).backward()
    assert target.grad is None
    assert logits.grad is not None
