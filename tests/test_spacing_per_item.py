"""Images with spacings of their own: each is computed as it would be alone, whatever its dtype.

Half precision is read as it is. Two providers may differ in the last bit of a float32 number, and
where that lies at the border between two float16 numbers, in the last bit of a float16 gradient:
that is rounding. What is none is tested here: every gradient is the float16 number nearest to the
exact one, within a thousandth of a step.
"""

import numpy as np
import oracles
import pytest
import torch
from scipy import ndimage

from fastdist import edt, edt_labels, signed_distance
from fastdist.functional import boundary_loss

HALF = [torch.float16, torch.bfloat16]
half = pytest.mark.parametrize("dtype", HALF, ids=str)
# Whole in units of their own: one by itself, one in units of its smallest; and one that is not.
SPACINGS = torch.tensor([[2.875, 2.875], [0.3, 1.7], [1.0, 1.0], [3.0, 1.5]], dtype=torch.float64)


@pytest.mark.parametrize("space", [(3, 6), (12, 13), (23, 31)], ids=str)
def test_ties_of_an_image_are_scipys_whatever_the_others_spacings_are(space, provider):
    rng = np.random.default_rng(10)
    for density in (0.6, 0.9, 0.97) * 12:
        mask = rng.random((4, *space)) < density
        mask[:, 0, 0] = False
        indices = edt(torch.from_numpy(mask), SPACINGS, ndim=2, return_indices=True)[1]
        for item, steps in enumerate(SPACINGS.tolist()):
            expected = ndimage.distance_transform_edt(
                mask[item], steps, return_distances=False, return_indices=True
            )
            np.testing.assert_array_equal(indices[:, item], expected)


FUNCTIONS = {
    "edt": lambda mask, rows: edt(mask, rows, ndim=3, dtype=torch.float64),
    "edt in float32": lambda mask, rows: edt(mask, rows, ndim=3),
    "edt, squared, with border": lambda mask, rows: edt(
        mask, rows, ndim=3, squared=True, border=True
    ),
    "edt with indices": lambda mask, rows: torch.cat(
        [part.flatten() for part in edt(mask, rows, ndim=3, return_indices=True)]
    ),
    "edt_labels": lambda mask, rows: edt_labels(mask, rows, ndim=3),
    "signed_distance": lambda mask, rows: signed_distance(mask, rows, ndim=3),
}


@half
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_a_mask_in_half_precision_is_the_mask(function, dtype, provider):
    rng = np.random.default_rng(11)
    for density in (0.2, 0.5, 0.9, 0.99):
        mask = torch.from_numpy(rng.random((3, 6, 3, 2)) < density)
        rows = torch.from_numpy(rng.random((3, 3)) * 3 + 0.05)
        for view in (mask, mask.transpose(1, 3).contiguous().transpose(1, 3)):
            assert torch.equal(function(view.to(dtype), rows), function(mask, rows))


@half
@pytest.mark.parametrize("of_rows", [*HALF, torch.float64], ids=str)
def test_distances_are_right_to_the_last_bit_but_one(of_rows, dtype, provider):
    rng = np.random.default_rng(12)
    for density in (0.2, 0.5, 0.9, 0.97) * 5:
        mask = torch.from_numpy(rng.random((3, 6, 3, 2)) < density)
        rows = torch.from_numpy(rng.random((3, 3)) * 3 + 0.05).to(of_rows)
        for out, bound in ((torch.float32, 2.0**-22), (torch.float64, 2.0**-50)):
            distances = edt(mask.to(dtype), rows, ndim=3, dtype=out)
            for item, steps in enumerate(rows.double().numpy()):
                expected = oracles.root(oracles.sweeps_squared(~mask[item].numpy(), steps))
                np.testing.assert_allclose(distances[item], expected, rtol=bound, atol=0)


def steps_from(value: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest distance to the exact number, in steps between numbers of the value's dtype."""
    info = torch.finfo(value.dtype)
    magnitude = exact.abs().clamp(min=info.smallest_normal)
    step = torch.exp2(torch.floor(torch.log2(magnitude))) * info.eps
    return ((value.double() - exact).abs() / step).max().item()


ACTIVATIONS = {
    "none": {},
    "sigmoid": {"sigmoid": True},
    "tanh": {"other_act": torch.tanh},
    "softmax of torch": {"other_act": lambda logits: torch.softmax(logits, 1)},
}


@half
@pytest.mark.parametrize("space", [(7,), (5, 6), (6, 3, 2)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_gradients_in_half_precision_are_the_nearest_there_are(activation, space, dtype, provider):
    generator = torch.Generator().manual_seed(13)
    for _ in range(8):
        logits = torch.randn(3, 3, *space, generator=generator).to(dtype)
        labels = torch.randint(0, 3, (3, *space), generator=generator)
        rows = torch.rand(3, len(space), generator=generator) * 3 + 0.1

        def gradient(input, labels=labels, rows=rows, **options):
            leaf = input.detach().clone().requires_grad_()
            boundary_loss(leaf, labels, spacing=rows, **options).backward()
            return leaf.grad

        act = activation.get("other_act")
        if act is None:
            exact = gradient(logits.double(), **activation)
            assert steps_from(gradient(logits, **activation), exact) <= 0.501
            continue
        # Ours is the gradient in what the activation gives; the rest is torch's, in half precision.
        probabilities = act(logits)
        ours = gradient(probabilities)
        assert steps_from(ours, gradient(probabilities.double())) <= 0.501
        leaf = logits.clone().requires_grad_()
        (expected,) = torch.autograd.grad(act(leaf), leaf, ours)
        assert torch.equal(gradient(logits, **activation), expected)
