"""BoundaryLoss has the value, the gradient and the warnings of MONAI's, over all its arguments."""

import warnings
from itertools import product

import pytest
import torch
from loss_oracle import lesion_labels, settings, with_gradient

from fastdist.losses import BoundaryLoss

monai_losses = pytest.importorskip("monai.losses")

SPACES = [(7, 9), (4, 6, 5)]


def recorded(function, *arguments):
    """The result and the warnings raised on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments)
    return result, [(w.category, str(w.message)) for w in caught]


def assert_same(arguments, logits, target, *forms):
    """Value, gradient, dtype, shape and warnings of both losses, ours for other forms as well."""
    ours, theirs = BoundaryLoss(**arguments), monai_losses.BoundaryLoss(**arguments)
    (expected, expected_gradient), expected_warned = recorded(
        with_gradient, lambda leaf: theirs(leaf, target), logits
    )
    for form in (target, *forms):
        (value, gradient), warned = recorded(
            with_gradient, lambda leaf, form=form: ours(leaf, form), logits
        )
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-7)
        assert sorted(warned, key=str) == sorted(expected_warned, key=str)


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax", "other_act"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("space", SPACES, ids=["2-D", "3-D"])
def test_class_indices(space, reduction, activation, provider):
    logits = torch.randn(2, 4, *space, generator=torch.Generator().manual_seed(1))
    labels = lesion_labels(2, space, 4)
    labels[1] = 1  # this class fills the item, the others are absent
    for include_background, batch in product([True, False], repeat=2):
        arguments = settings(activation) | {
            "include_background": include_background,
            "to_onehot_y": True,
            "reduction": reduction,
            "batch": batch,
        }
        assert_same(arguments, logits, labels, labels.unsqueeze(1), labels.float())


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax", "other_act"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("space", SPACES, ids=["2-D", "3-D"])
def test_channels(space, reduction, activation, provider):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, *space, generator=generator)
    soft = torch.rand(2, 3, *space, generator=generator)  # overlapping, above 0.5 or not
    soft[1, 2] = 0
    for include_background, batch in product([True, False], repeat=2):
        arguments = settings(activation) | {
            "include_background": include_background,
            "reduction": reduction,
            "batch": batch,
        }
        assert_same(arguments, logits, soft, soft > 0.5)


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax", "other_act"])
@pytest.mark.parametrize("space", SPACES, ids=["2-D", "3-D"])
def test_a_single_channel_warns_as_monai_does(space, activation, provider):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 1, *space, generator=generator)
    target = (torch.rand(2, 1, *space, generator=generator) > 0.7).float()
    for include_background, to_onehot_y, batch in product([True, False], repeat=3):
        arguments = settings(activation) | {
            "include_background": include_background,
            "to_onehot_y": to_onehot_y,
            "batch": batch,
            "reduction": "none",
        }
        assert_same(arguments, logits, target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_results_have_monais_dtype(dtype, provider):
    logits = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(4)).to(dtype)
    labels = lesion_labels(2, (7, 9), 3)
    arguments = {"softmax": True, "to_onehot_y": True}
    ours, theirs = BoundaryLoss(**arguments), monai_losses.BoundaryLoss(**arguments)
    value, gradient = with_gradient(lambda leaf: ours(leaf, labels), logits)
    expected, expected_gradient = with_gradient(lambda leaf: theirs(leaf, labels), logits)
    assert value.dtype == expected.dtype
    assert gradient.dtype == expected_gradient.dtype == dtype
    rounding = torch.finfo(dtype).eps if dtype != torch.float64 else 1e-6  # MONAI's maps: float32
    torch.testing.assert_close(value, expected, rtol=4 * rounding, atol=4 * rounding)


def test_arguments_and_order_are_monais():
    loss = BoundaryLoss(False, True, False, True, None, "sum", True)
    assert not loss.include_background
    assert loss.to_onehot_y
    assert loss.softmax
    assert loss.reduction == "sum"
    assert loss.batch
    from monai.utils import LossReduction

    assert BoundaryLoss(reduction=LossReduction.NONE).reduction == "none"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"sigmoid": True, "softmax": True}, ValueError),
        ({"softmax": True, "other_act": torch.tanh}, ValueError),
        ({"other_act": "tanh"}, TypeError),
        ({"reduction": "average"}, ValueError),
    ],
)
def test_errors_have_monais_kind(arguments, error):
    for loss in (BoundaryLoss, monai_losses.BoundaryLoss):
        with pytest.raises(error):
            loss(**arguments)


def test_metatensors_are_tensors(provider):
    meta_tensor = pytest.importorskip("monai.data").MetaTensor
    labels = lesion_labels(2, (7, 9), 3)
    logits = torch.randn(2, 3, 7, 9)
    loss = BoundaryLoss(softmax=True)
    assert loss(logits, meta_tensor(labels)).item() == loss(logits, labels).item()
