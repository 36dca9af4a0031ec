"""torch.export with sizes left open: the program holds for all of them, not only for the traced."""

import pytest
import torch
from torch.export import Dim, export

from fastdist import edt, edt_labels, signed_distance, signed_distance_maps
from fastdist.losses import BoundaryLoss

# Traced with five images of 7 x 9; B == ndim, one image and sizes of one or two among the others.
TRACED = 5, (7, 9)
OTHERS = [(2, (7, 9)), (1, (7, 9)), (3, (2, 3)), (2, (2, 2)), (6, (1, 9)), (9, (9, 7)), (3, (3, 3))]
B, H, W = Dim("B"), Dim("H"), Dim("W")
CHANNELS, PLAIN = {0: B, 2: H, 3: W}, {0: B, 1: H, 2: W}


class Program(torch.nn.Module):
    """A function as what torch.export takes."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def holds_for_every_size(function, make, dynamic, strict):
    """The program exported at one size gives at every other one what the function gives."""
    program = export(
        Program(function), make(*TRACED), dynamic_shapes=(dynamic,), strict=strict
    ).module()
    for batch, space in OTHERS:
        arguments = make(batch, space)
        torch.testing.assert_close(program(*arguments), function(*arguments))


def spacing(batch, space):
    return torch.rand(batch, len(space), dtype=torch.float64) + 0.5


EXTRAS = {
    "spacing alone": (None, None),
    "mask": ("plain", None),
    "mask with a channel axis": ("channel", None),
    "maps": (None, 3),
    "maps without the background's": ("channel", 2),
}


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])
@pytest.mark.parametrize("extras", EXTRAS.values(), ids=EXTRAS.keys())
def test_the_loss_with_a_spacing_per_item(extras, strict):
    mask, maps = extras
    loss = BoundaryLoss(softmax=True, include_background=False)

    def function(logits, labels, spacing, mask, maps):
        return loss(logits, labels, spacing=spacing, mask=mask, dist_map=maps)

    def make(batch, space):
        axis = (1,) if mask == "channel" else ()
        return (
            torch.randn(batch, 3, *space),
            torch.randint(0, 3, (batch, *space)),
            spacing(batch, space),
            torch.rand(batch, *axis, *space) > 0.3 if mask else None,
            torch.randn(batch, maps, *space) if maps else None,
        )

    of_mask = {None: None, "plain": PLAIN, "channel": CHANNELS}[mask]
    dynamic = (CHANNELS, PLAIN, {0: B}, of_mask, CHANNELS if maps else None)
    holds_for_every_size(function, make, dynamic, strict)


MAPS = {
    "edt": lambda x, h: edt(x, h, ndim=2),
    "edt_labels": lambda x, h: edt_labels(x, h, ndim=2, border=True),
    "signed_distance": lambda x, h: signed_distance(x, h, ndim=2),
    "signed_distance_maps": lambda x, h: signed_distance_maps(x, 3, h),
}


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])
@pytest.mark.parametrize("function", MAPS.values(), ids=MAPS.keys())
def test_maps_with_a_sampling_per_item(function, strict):
    def make(batch, space):
        return torch.randint(0, 3, (batch, *space)), spacing(batch, space)

    holds_for_every_size(function, make, (PLAIN, {0: B}), strict)
