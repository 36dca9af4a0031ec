"""Distances do not depend on the order of the axes: thin last axes may be computed in another."""

import pytest
import torch

from fastdist import edt, edt_labels, signed_distance, signed_distance_maps

SPACES = [(40, 3), (37, 17), (9, 33, 5), (20, 18, 17), (6, 35, 20)]
ITEMS = 2


def axes_turned(tensor: torch.Tensor, ndim: int) -> torch.Tensor:
    """The last axis of each image first."""
    return tensor.movedim(-1, -ndim).contiguous()


def labels_of(space: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(space))
    coarse = torch.randint(0, 4, (ITEMS, *(-(-n // 3) for n in space)), generator=generator)
    for axis, n in enumerate(space, 1):
        coarse = coarse.repeat_interleave(3, axis).narrow(axis, 0, n)
    labels = coarse.clone()
    labels[torch.rand(labels.shape, generator=generator) < 0.03] = 255
    labels[1][labels[1] == 3] = 0  # absent from one item
    return labels


CALLS = {
    "edt": lambda x, s: edt(x == 1, s, ndim=x.dim() - 1),
    "edt with border": lambda x, s: edt(x != 1, s, ndim=x.dim() - 1, border=True),
    "squared": lambda x, s: edt(x == 1, s, ndim=x.dim() - 1, squared=True, dtype=torch.float64),
    "edt_labels": lambda x, s: edt_labels(x, s, ndim=x.dim() - 1),
    "one mask": lambda x, s: signed_distance(x == 2, s, ndim=x.dim() - 1, normalize="max"),
}
MAPS = {
    "maps": {},
    "ignored": {"ignore_index": 255},
    "inner": {"ignore_index": 255, "zero": "inner"},
    "normalized": {"ignore_index": 255, "normalize": "max", "clip": 4.0, "dtype": torch.float64},
    "border": {"ignore_index": 255, "border": True, "empty": "diagonal", "full": "diagonal"},
}


def maps_of(options):
    def call(labels, sampling):
        if "ignore_index" not in options:
            labels = labels.clamp(max=3)
        return signed_distance_maps(labels, 4, sampling, **options)

    return call


CALLS |= {name: maps_of(options) for name, options in MAPS.items()}


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_axes_in_another_order_give_the_same_map(name, space, provider):
    ndim, labels = len(space), labels_of(space)
    steps = torch.arange(1, ndim + 1)
    for sampling in (steps, torch.stack([steps, steps.flip(0)])):
        as_given = CALLS[name](labels, _argument(sampling))
        turned = CALLS[name](axes_turned(labels, ndim), _argument(sampling.roll(1, -1)))
        assert torch.equal(axes_turned(as_given, ndim), turned)


def _argument(sampling: torch.Tensor):
    """One for all images as numbers, one for each as a tensor."""
    return tuple(sampling.double().tolist()) if sampling.dim() == 1 else sampling.double()
