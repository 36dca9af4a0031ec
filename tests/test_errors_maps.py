"""Mistakes in signed maps: conventions, labels out of range, channels; nothing is written."""

import re

import pytest
import torch
from test_errors import INF, MAPS, MASK, MISTAKE, NAN, refuses, room

from fastdist import (
    edt,
    signed_distance,
    signed_distance_maps,
)

BAD_CONVENTIONS = {
    "zero: no name": ("zero", "centre"),
    "zero: None": ("zero", None),
    "normalize: no name": ("normalize", "mean"),
    "normalize: a number": ("normalize", 2),
    "clip: zero": ("clip", 0),
    "clip: negative": ("clip", -3.0),
    "clip: nan": ("clip", NAN),
    "clip: infinite": ("clip", INF),
    "clip: a word": ("clip", "far"),
    "empty: nan": ("empty", NAN),
    "empty: infinite": ("empty", INF),
    "empty: no name": ("empty", "corner"),
    "empty: None": ("empty", None),
    "full: nan": ("full", NAN),
    "full: minus infinity": ("full", -INF),
    "full: no name": ("full", "max"),
}


@pytest.mark.parametrize(("name", "value"), BAD_CONVENTIONS.values(), ids=BAD_CONVENTIONS.keys())
def test_conventions(name, value, provider):
    out = room(2, 6, 7)
    refuses(lambda: signed_distance(MASK, ndim=2, out=out, **{name: value}), name, MISTAKE, out)
    out = room(*MAPS)
    refuses(lambda: signed_distance_maps(MASK, 3, out=out, **{name: value}), name, MISTAKE, out)


@pytest.mark.asks_values
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 5, 6), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("value", [3, 255, -1, -(2**63), 2**32 + 1, 256])
def test_labels_out_of_range(value, place, provider):
    labels = MASK.clone()
    labels[place] = value
    for ignore_index in (None, 17):
        out = room(*MAPS)
        with pytest.raises(ValueError, match="labels") as raised:
            signed_distance_maps(labels, 3, ignore_index=ignore_index, out=out)
        assert str(value) in str(raised.value)  # what came
        assert re.search(r"\[0, 3\)|0 to 2\b", str(raised.value))  # what was expected
        assert (out == 7).all()  # though the first items were right
    signed_distance_maps(labels, 3, ignore_index=value)  # and as ignore_index it is welcome


@pytest.mark.asks_values
@pytest.mark.parametrize("value", [0.5, 1.25, -0.5, 2.999, NAN, INF, -INF, 3.0, -1.0, 1e30])
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_floats_that_are_no_class_indices(value, dtype, provider):
    labels = MASK.to(dtype)
    labels[1, 5, 6] = value
    out = room(*MAPS)
    refuses(lambda: signed_distance_maps(labels, 3, out=out), "labels", ValueError, out)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4, 5, 6)], ids=str)
@pytest.mark.parametrize("onehot", [False, True])
def test_labels_of_the_wrong_rank(shape, onehot, provider):
    if onehot and len(shape) == 5:
        shape = (2, 3, 4, 5, 6, 7)
    refuses(
        lambda: signed_distance_maps(torch.zeros(shape), 3, onehot=onehot), "labels", ValueError
    )


@pytest.mark.parametrize("num_classes", [0, -1, 2**31, 2**62, 2**63])
def test_num_classes_below_one_or_beyond_memory(num_classes, provider):
    refuses(lambda: signed_distance_maps(MASK, num_classes), "num_classes", ValueError)


@pytest.mark.parametrize("num_classes", [None, 2.0, "3", True, torch.tensor(3)], ids=repr)
def test_num_classes_that_is_no_integer(num_classes, provider):
    refuses(lambda: signed_distance_maps(MASK, num_classes), "num_classes", TypeError)


def test_channels_of_another_number(provider):
    channels = torch.zeros(2, 3, 6, 7)
    refuses(lambda: signed_distance_maps(channels, 4, onehot=True), "num_classes", ValueError)


@pytest.mark.parametrize("ignore_index", [0.5, "255", True, torch.tensor(2)], ids=repr)
def test_ignore_index_that_is_no_integer(ignore_index, provider):
    refuses(lambda: signed_distance_maps(MASK, 3, ignore_index=ignore_index), "ignore_index")


def test_channels_have_no_index_to_ignore(provider):
    channels = torch.zeros(2, 3, 6, 7)
    refuses(lambda: signed_distance_maps(channels, 3, onehot=True, ignore_index=0), "ignore_index")


@pytest.mark.asks_values
def test_a_mistake_leaves_the_provider_usable(provider):
    for _ in range(3):
        refuses(lambda: signed_distance_maps(MASK + 5, 3), "labels")
        refuses(lambda: edt(MASK, torch.full((2, 2), NAN), ndim=2), "sampling")
    assert edt(MASK, ndim=2)[0, 2, 3] == 1
