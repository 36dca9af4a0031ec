"""signed_distance_maps: the conventions of design 4.4 for labels and channels, ignored voxels."""

from itertools import product

import numpy as np
import oracles
import pytest
import torch
from cases import SMALL_SHAPES, blobs
from test_labels import random_labels
from test_signed import NORMALIZATIONS, ZEROS, assert_is_map

from fastdist import signed_distance, signed_distance_maps


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("ignore_index", [None, 255, -1, 2])
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
@pytest.mark.parametrize("shape", [(2, 30), (2, 14, 17), (2, 6, 7, 9)], ids=str)
def test_maps_of_labels(shape, border, ignore_index, zero, provider):
    labels = random_labels(shape, 4)
    if ignore_index is not None:
        labels[np.random.default_rng(14).random(shape) < 0.15] = ignore_index
    labels[1][labels[1] == 3] = 0  # absent from one item
    steps = np.linspace(0.6, 2.2, len(shape) - 1)
    for sampling in (None, tuple(steps)):
        expected = oracles.signed_maps_of_labels(
            labels, 4, sampling, ignore_index=ignore_index, zero=zero, border=border
        )
        got = signed_distance_maps(
            torch.from_numpy(labels), 4, sampling, ignore_index=ignore_index, zero=zero,
            border=border,
        )  # fmt: skip
        assert got.shape == (2, 4, *shape[1:])
        assert_is_map(got, expected, sampling)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("clip", [None, 1.25])
def test_maps_of_labels_clipped_and_normalized(clip, normalize, provider):
    labels = random_labels((3, 16, 18), 5)
    labels[2] = 1  # a class that fills its image, the others absent
    labels[labels == 4] = 255
    options = {"clip": clip, "normalize": normalize, "empty": "diagonal", "full": -7.5}
    sampling = np.array([[1.0, 1.0], [0.5, 3.0], [2.0, 0.1]])
    expected = oracles.signed_maps_of_labels(labels, 5, sampling, ignore_index=255, **options)
    got = signed_distance_maps(
        torch.from_numpy(labels), 5, torch.from_numpy(sampling), ignore_index=255,
        dtype=torch.float64, **options,
    )  # fmt: skip
    assert_is_map(got, expected, 3.0)
    assert (got[2, 1] == -7.5).all()


@pytest.mark.parametrize("num_classes", [1, 2, 3, 9, 40])
def test_any_number_of_classes(num_classes, provider):
    labels = random_labels((2, 9, 11), num_classes)
    expected = oracles.signed_maps_of_labels(labels, num_classes)
    assert_is_map(signed_distance_maps(torch.from_numpy(labels), num_classes), expected)


def test_classes_beyond_a_byte(provider):
    labels = random_labels((1, 5, 40), 300)
    labels[0, 0, :2] = [299, 43]  # equal in their low byte
    expected = oracles.signed_maps_of_labels(labels, 300)
    assert_is_map(signed_distance_maps(torch.from_numpy(labels), 300), expected)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32,
              torch.float64, torch.float16, torch.bfloat16], ids=str
)  # fmt: skip
@pytest.mark.parametrize("ignore_index", [None, 100])
def test_labels_of_any_dtype(dtype, ignore_index, provider):
    labels = random_labels((2, 11, 12), 3)
    if ignore_index is not None:
        labels[:, 4:6, 2:9] = ignore_index
    expected = oracles.signed_maps_of_labels(labels, 3, ignore_index=ignore_index)
    got = signed_distance_maps(torch.from_numpy(labels).to(dtype), 3, ignore_index=ignore_index)
    assert_is_map(got, expected)


def test_bool_labels_are_two_classes(provider):
    labels = blobs((2, 9, 10))
    expected = oracles.signed_maps_of_labels(labels.astype(int), 2)
    assert_is_map(signed_distance_maps(torch.from_numpy(labels), 2), expected)


def test_ignored_voxels_make_no_boundary(provider):
    # 1 1 ? ? 0 0: the nearest voxel known to be of another class, whatever lies between.
    labels = torch.tensor([[1, 1, 255, 255, 0, 0]])
    maps = signed_distance_maps(labels, 2, ignore_index=255, zero="none")
    np.testing.assert_array_equal(maps[0, 1], [-4, -3, 0, 0, 3, 4])
    np.testing.assert_array_equal(maps[0, 0], [4, 3, 0, 0, -3, -4])


def test_an_inside_behind_ignored_voxels_has_no_inner_boundary(provider):
    # No foreground voxel touches known background: the inside is the `full` constant.
    labels = torch.tensor([[1, 1, 255, 255, 0, 0]])
    maps = signed_distance_maps(labels, 2, ignore_index=255, zero="inner", full=-5.0, clip=3.5)
    np.testing.assert_array_equal(maps[0, 1], [-5, -5, 0, 0, 3, 3.5])


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_an_image_of_ignored_voxels_is_zero(zero, border, provider):
    labels = torch.full((2, 6, 7), 255)
    labels[1] = 0
    maps = signed_distance_maps(
        labels, 2, ignore_index=255, zero=zero, border=border, empty=4.0, full=-4.0
    )
    assert (maps[0] == 0).all()
    assert (maps[1, 1] == 4).all()


def test_an_ignored_class_is_absent_everywhere(provider):
    labels = random_labels((1, 12, 12), 3)
    maps = signed_distance_maps(torch.from_numpy(labels), 3, ignore_index=0, empty=2.0)
    expected = oracles.signed_maps_of_labels(labels, 3, ignore_index=0, empty=2.0)
    assert (expected[0, 0] == np.where(labels[0] == 0, 0, 2)).all()
    assert_is_map(maps, expected)


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("shape", [(2, 3, 25), (2, 3, 13, 14), (1, 2, 5, 6, 7)], ids=str)
def test_channels_are_masks_of_their_own(shape, zero, provider):
    # Overlapping channels, a gap between them, one empty, one full.
    channels = np.random.default_rng(15).random(shape) < 0.4
    channels[0, 0] = False
    channels[0, 1] = True
    got = signed_distance_maps(
        torch.from_numpy(channels), shape[1], onehot=True, zero=zero, full=-3.0, empty=8.0
    )
    for item, channel in np.ndindex(shape[:2]):
        expected = oracles.signed_map(channels[item, channel], zero=zero, full=-3.0, empty=8.0)
        assert_is_map(got[item, channel], expected)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int64, torch.float32, torch.bfloat16], ids=str
)
def test_channels_of_labels_give_the_maps_of_labels(dtype, provider):
    labels = torch.from_numpy(random_labels((2, 12, 15), 4))
    channels = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).to(dtype)
    for zero in ZEROS:
        np.testing.assert_array_equal(
            signed_distance_maps(channels, 4, onehot=True, zero=zero),
            signed_distance_maps(labels, 4, zero=zero),
        )


def test_the_map_of_a_mask_is_the_map_of_class_one(provider):
    labels = torch.from_numpy(random_labels((2, 12, 15), 2))
    for zero, border in product(ZEROS, [False, True]):
        np.testing.assert_array_equal(
            signed_distance(labels, ndim=2, zero=zero, border=border),
            signed_distance_maps(labels, 2, zero=zero, border=border)[:, 1],
        )


@pytest.mark.parametrize("shape", [(0, 5, 6), (2, 0, 6), (2, 5, 0), (1, 1, 1)], ids=str)
def test_zero_sizes(shape, provider):
    labels = torch.zeros(shape, dtype=torch.int64)
    assert signed_distance_maps(labels, 3).shape == (shape[0], 3, *shape[1:])
    assert signed_distance(labels, ndim=2).shape == shape
    channels = labels[:, None].expand(-1, 3, -1, -1)
    assert signed_distance_maps(channels, 3, onehot=True).shape == (shape[0], 3, *shape[1:])


@pytest.mark.parametrize("shape", SMALL_SHAPES, ids=str)
def test_maps_are_contiguous_and_need_no_gradient(shape, provider):
    mask = torch.rand(shape, requires_grad=True)
    got = signed_distance(mask.transpose(0, -1), ndim=len(shape))
    assert got.is_contiguous()
    assert not got.requires_grad


@pytest.mark.parametrize("normalize", [None, "max", "diagonal"])
def test_an_inside_that_nothing_encloses_is_the_full_constant_as_it_is(normalize, provider):
    # Known foreground and background nowhere touch: "inner" has no boundary to measure to.
    labels = torch.full((1, 6, 7), 255)
    labels[0, 1:3, 1:3] = 1
    labels[0, 5, 6] = 0
    options = {"zero": "inner", "full": 5.0, "clip": 4.0, "normalize": normalize}
    maps = signed_distance_maps(labels, 2, ignore_index=255, **options)
    expected = oracles.signed_maps_of_labels(labels.numpy(), 2, ignore_index=255, **options)
    np.testing.assert_allclose(maps.numpy(), expected, rtol=1e-6, atol=1e-6)
