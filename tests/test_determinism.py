"""The same bits every time: run twice, on one thread or two, in one batch or many, side by side."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from cases import blobs

from fastdist import edt, edt_labels, signed_distance, signed_distance_maps

VOLUME = torch.from_numpy(blobs((2, 60, 64, 70)).astype(np.uint8))
SMALL = VOLUME[:, :9, :10, :11].contiguous()
SPACING = (1.7, 0.6, 0.9)

FUNCTIONS = {
    "edt": lambda x: edt(x, ndim=3),
    "edt, spacing": lambda x: edt(x, SPACING, ndim=3, border=True),
    "edt, indices": lambda x: edt(x, ndim=3, return_indices=True)[1],
    "edt, float indices": lambda x: edt(x, SPACING, ndim=3, return_indices=True)[1],
    "edt, 2-D": lambda x: edt(x, ndim=2, squared=True),
    "edt_labels": lambda x: edt_labels(x, SPACING, ndim=3),
    "signed": lambda x: signed_distance(x, SPACING, ndim=3, normalize="max"),
    "signed, inner": lambda x: signed_distance(x, ndim=3, zero="inner", clip=3),
    "maps": lambda x: signed_distance_maps(x, 2, SPACING, zero="midpoint"),
    "maps, ignored": lambda x: signed_distance_maps(x, 2, ignore_index=0),
}


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()


@pytest.fixture(params=FUNCTIONS, ids=str)
def function(request):
    return FUNCTIONS[request.param]


@pytest.fixture
def volume(provider):
    return SMALL if provider == "reference" else VOLUME


def test_twice_the_same_bits(function, volume):
    assert bits(function(volume)) == bits(function(volume.clone()))


def test_any_number_of_threads_gives_the_same_bits(function, volume):
    answers = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        answers.append(bits(function(volume)))
    assert answers[0] == answers[1] == answers[2]


def test_an_item_has_the_same_bits_alone_and_in_a_batch(function, volume):
    together = function(volume)
    axis = 1 if together.shape[1:] == volume.shape else 0  # indices have their own axis first
    alone = torch.cat([function(item[None]) for item in volume], axis)
    assert bits(together) == bits(alone)


def test_callers_side_by_side_do_not_disturb_each_other(function, volume):
    expected = bits(function(volume))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: bits(function(volume)), range(8)))
    assert all(answer == expected for answer in answers)


def test_what_was_computed_before_does_not_matter(function, volume):
    expected = bits(function(volume))
    for shape in [(1, 3, 5, 7), (3, 1, 90, 2), (1, 40, 3, 129)]:
        function(torch.ones(shape, dtype=torch.uint8))  # scratch of other sizes, nothing to find
    assert bits(function(volume)) == expected
