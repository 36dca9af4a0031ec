"""signed_distance and signed_distance_maps: every convention of design 4.4."""

from itertools import product

import numpy as np
import oracles
import pytest
import torch
from cases import FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, SMALL, SMALL_SHAPES, _blobs
from conftest import affordable
from scipy import ndimage
from test_labels import random_labels

from fastdist import signed_distance, signed_distance_maps

ZEROS = ["shifted", "unit", "inner", "midpoint", "none"]
NORMALIZATIONS = [None, "max", "diagonal"]


def assert_is_map(got: torch.Tensor, expected: np.ndarray, sampling=None, scale=1.0) -> None:
    """Within rounding of the oracle; never inf, NaN or minus zero."""
    values = got.numpy()
    relative = 1e-12 if got.dtype == torch.float64 else 1e-6
    steps = 1.0 if sampling is None else sampling
    room = oracles.tolerance(expected, relative, steps) * scale
    assert np.isfinite(values).all()
    assert (np.abs(values - expected) <= room).all(), np.abs(values - expected).max()
    assert not np.signbit(values[values == 0]).any()


# ------------------------------------------------------------------ one mask


@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_zero_levels(case, zero, border, provider):
    affordable(provider, case.sites.size, case.sites.size)
    mask = torch.from_numpy(case.sites.copy())
    for dtype in (torch.float32, torch.float64):
        got = signed_distance(mask, ndim=mask.dim(), zero=zero, border=border, dtype=dtype)
        assert got.dtype == dtype
        assert got.shape == mask.shape
        assert_is_map(got, oracles.signed_map(case.sites, zero=zero, border=border))


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("shape", [(40,), (21, 23), (7, 9, 11)], ids=str)
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_zero_levels_at_any_spacing(shape, zero, border, provider):
    fg = _blobs(shape)
    for sampling in INTEGER_SAMPLINGS[len(shape)] + FLOAT_SAMPLINGS[len(shape)]:
        expected = oracles.signed_map(fg, sampling=sampling, zero=zero, border=border)
        for dtype in (torch.float32, torch.float64):
            got = signed_distance(
                torch.from_numpy(fg), sampling, ndim=fg.ndim, zero=zero, border=border, dtype=dtype
            )
            assert_is_map(got, expected, sampling)


@pytest.mark.parametrize("zero", ZEROS)
def test_the_default_is_shifted_open_unclipped_float32(zero, provider):
    fg = torch.from_numpy(_blobs((30, 31)))
    got = signed_distance(fg, ndim=2)
    assert got.dtype == torch.float32
    assert_is_map(got, oracles.signed_map(fg.numpy(), zero="shifted"))


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("clip", [None, 0.75, 2.0, 1e6])
@pytest.mark.parametrize("zero", ZEROS)
def test_clip_comes_before_normalization(zero, clip, normalize, provider):
    fg = _blobs((30, 41))
    fg[10:21, 5:18] = True  # thicker than the clip
    for sampling, border in product([None, (0.7, 1.9)], [False, True]):
        convention = {"zero": zero, "clip": clip, "normalize": normalize, "border": border}
        expected = oracles.signed_map(fg, sampling=sampling, **convention)
        if normalize == "max" and clip is None:
            assert np.isclose(expected.max(), 1)
            assert np.isclose(expected.min(), -1)
        got = signed_distance(torch.from_numpy(fg), sampling, ndim=2, **convention)
        assert_is_map(got, expected, sampling)


def test_normalizing_leaves_a_zero_inside_at_zero(provider):
    fg = np.zeros((9, 9), bool)
    fg[4, 4] = True  # d_bg = 1 everywhere inside: shifted to 0
    got = signed_distance(torch.from_numpy(fg), ndim=2, normalize="max")
    assert got[4, 4] == 0
    assert got.max() == 1
    assert_is_map(got, oracles.signed_map(fg, normalize="max"))


def test_unit_shift_may_be_positive_inside_but_shifted_is_not(provider):
    fg = torch.from_numpy(_blobs((20, 20)))
    unit = signed_distance(fg, 0.5, ndim=2, zero="unit")
    shifted = signed_distance(fg, 0.5, ndim=2, zero="shifted")
    assert unit[fg].max() == 0.5
    assert shifted[fg].max() == 0


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("constant", [0.0, 3.5, -2.0, "diagonal"])
def test_empty_and_full_are_final_constants(zero, constant, provider):
    sampling = (1.5, 2.0, 0.5)
    length = oracles.diagonal((2, 3, 4), sampling)
    masks = torch.zeros(3, 2, 3, 4)
    masks[1] = 1
    masks[2, 0, 0, 0] = 1
    got = signed_distance(
        masks, sampling, ndim=3, zero=zero, clip=0.25, normalize="max", empty=constant,
        full=constant, dtype=torch.float64,
    )  # fmt: skip
    empty, full = (length, -length) if constant == "diagonal" else (constant, constant)
    np.testing.assert_allclose(got[0], np.full((2, 3, 4), empty), rtol=1e-15)
    np.testing.assert_allclose(got[1], np.full((2, 3, 4), full), rtol=1e-15)
    assert got[2].abs().max() <= 1  # the ordinary item beside them is clipped and normalised


def test_a_constant_of_minus_zero_is_zero(provider):
    assert not torch.signbit(signed_distance(torch.zeros(3), ndim=1, empty=-0.0)).any()
    assert not torch.signbit(signed_distance(torch.ones(3), ndim=1, full=-0.0)).any()


@pytest.mark.parametrize("zero", ZEROS)
def test_with_a_border_a_full_mask_has_an_edge(zero, provider):
    fg = np.ones((7, 10), bool)
    for normalize in NORMALIZATIONS:
        options = {"zero": zero, "border": True, "full": 99.0, "normalize": normalize}
        got = signed_distance(torch.from_numpy(fg), (2.0, 1.0), ndim=2, **options)
        expected = oracles.signed_map(fg, sampling=(2.0, 1.0), **options)
        assert (expected < 99).all()
        assert_is_map(got, expected, 2.0)


def test_the_border_moves_the_inside_only(provider):
    fg = torch.from_numpy(_blobs((25, 26)))
    plain, bordered = (signed_distance(fg, ndim=2, border=b) for b in (False, True))
    np.testing.assert_array_equal(plain[~fg], bordered[~fg])
    assert (bordered[fg] >= plain[fg]).all()
    assert (bordered[0][fg[0]] == 0).all()


def test_every_item_may_have_its_own_spacing(provider):
    masks = np.stack([_blobs((2, 12, 13)), ~_blobs((2, 12, 13))])
    masks[1, 1] = False
    sampling = np.array([[1.0, 2.5], [0.3, 0.7]])
    for zero, normalize in product(ZEROS, NORMALIZATIONS):
        got = signed_distance(
            torch.from_numpy(masks), torch.from_numpy(sampling), ndim=2, zero=zero,
            normalize=normalize, empty="diagonal", dtype=torch.float64,
        )  # fmt: skip
        for item, channel in np.ndindex(2, 2):
            expected = oracles.signed_map(
                masks[item, channel], sampling=sampling[item], zero=zero, normalize=normalize,
                empty="diagonal",
            )  # fmt: skip
            assert_is_map(got[item, channel], expected, sampling[item])


@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_unshifted_maps_are_correctly_rounded_roots(border, provider):
    fg = _blobs((33, 65))
    expected = oracles.signed_map(fg, zero="none", border=border).astype(np.float32)
    got = signed_distance(torch.from_numpy(fg), ndim=2, zero="none", border=border)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("shape", [(4097, 40), (40, 4097), (129, 127, 131)], ids=str)
def test_large_masks(shape, zero, quick):
    fg = _blobs(shape)
    fg[shape[0] // 3 : shape[0] // 2] = True
    edge = oracles.inner_boundary(fg, ~fg)
    outside = ndimage.distance_transform_edt(~fg)
    inside = ndimage.distance_transform_edt(~edge if zero == "inner" else fg)
    half = 0.5 if zero == "midpoint" else 0
    shift = {"inner": 0, "none": 0, "midpoint": 0.5}.get(zero, 1)
    expected = np.where(fg, -(inside - shift), outside - half) + 0.0
    assert_is_map(signed_distance(torch.from_numpy(fg), ndim=fg.ndim, zero=zero), expected)


@pytest.mark.slow
def test_signed_maps_beyond_the_integers_of_float32(quick):
    # One voxel in the corner of 4097 x 4097: squared distances reach 2^25.
    fg = torch.zeros(4097, 4097, dtype=torch.uint8)
    fg[0, 0] = 1
    roots = np.sqrt(oracles.few_sites_squared((4097, 4097), [(0, 0)]).astype(np.float64))
    np.testing.assert_array_equal(signed_distance(fg, ndim=2), roots.astype(np.float32))
    roots[0, 0] = 1
    got = signed_distance(1 - fg, ndim=2)
    assert got[0, 0] == 1
    assert (np.abs(got.numpy()[1:] + (roots[1:] - 1)) <= 1e-6 * roots[1:]).all()


# ------------------------------------------------------------------ labels and channels


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
    labels = _blobs((2, 9, 10))
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


# ------------------------------------------------------------------ the conventions of others


def kervadec(channels: np.ndarray, resolution) -> np.ndarray:
    """The recipe of the boundary loss's authors for one image, with SciPy; absent classes are 0."""
    maps = np.zeros(channels.shape)
    for k, inside in enumerate(channels):
        if inside.any():
            away = ndimage.distance_transform_edt(~inside, sampling=resolution)
            depth = ndimage.distance_transform_edt(inside, sampling=resolution)
            maps[k] = away * ~inside - (depth - 1) * inside
    return maps


@pytest.mark.parametrize("resolution", [(1, 1), (0.5, 0.5), (3.0, 0.7)], ids=str)
def test_unit_is_kervadecs_recipe(resolution, provider):
    labels = random_labels((3, 40, 37), 3)
    labels[1][labels[1] == 2] = 1
    got = signed_distance_maps(torch.from_numpy(labels), 3, resolution, zero="unit")
    for item in range(3):
        expected = kervadec(np.stack([labels[item] == k for k in range(3)]), resolution)
        np.testing.assert_allclose(got[item], expected, rtol=1e-6, atol=1e-6 * max(resolution))


def test_shifted_is_kervadecs_recipe_at_unit_spacing(provider):
    labels = random_labels((2, 7, 20, 21), 3)
    got = signed_distance_maps(torch.from_numpy(labels), 3)
    for item in range(2):
        expected = kervadec(np.stack([labels[item] == k for k in range(3)]), None)
        np.testing.assert_allclose(got[item], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 31, 33), (1, 9, 12, 13)], ids=str)
def test_shifted_is_monais_map_at_unit_spacing(shape, provider):
    losses = pytest.importorskip("monai.losses")
    labels = random_labels(shape, 4)
    labels[0] = np.where(labels[0] == 3, 0, labels[0])
    channels = torch.from_numpy(np.stack([labels == k for k in range(4)], 1)).float()
    theirs = losses.BoundaryLoss().compute_distance_map(channels)
    np.testing.assert_allclose(
        signed_distance_maps(channels, 4, onehot=True), theirs, rtol=1e-6, atol=1e-6
    )


def signed_maurer(fg: np.ndarray, spacing) -> np.ndarray:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(fg.astype(np.uint8))
    image.SetSpacing([float(h) for h in spacing[::-1]])
    return sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(
            image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
    )


@pytest.mark.parametrize("sampling", [(1, 1, 1), (2.5, 0.7, 0.6)], ids=str)
@pytest.mark.parametrize("shape", [(40, 45), (14, 21, 24)], ids=str)
def test_inner_is_itks_signed_maurer_of_boxes(shape, sampling, provider):
    sampling = sampling[: len(shape)]
    fg = np.zeros(shape, bool)
    fg[tuple(slice(2, n // 2) for n in shape)] = True
    fg[tuple(slice(n // 2 + 2, n - 1) for n in shape)] = True
    theirs = signed_maurer(fg, sampling)
    got = signed_distance(torch.from_numpy(fg), sampling, ndim=fg.ndim, zero="inner")
    np.testing.assert_allclose(got, theirs, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("sampling", [(1, 1, 1), (2.5, 0.7, 0.6)], ids=str)
@pytest.mark.parametrize("shape", [(40, 45), (14, 21, 24)], ids=str)
def test_inner_differs_from_itk_by_what_touches_at_a_corner_only(shape, sampling, provider):
    # ITK's boundary holds also voxels that touch the outside by an edge or a corner.
    sampling = sampling[: len(shape)]
    fg = _blobs(shape)
    theirs = signed_maurer(fg, sampling)
    got = signed_distance(torch.from_numpy(fg), sampling, ndim=fg.ndim, zero="inner").numpy()
    np.testing.assert_allclose(got[~fg], theirs[~fg], rtol=2e-6)
    assert (np.abs(theirs[got == 0]) < 1e-5).all()
    assert (got[fg] <= theirs[fg] + 1e-5).all()
    assert (got[fg] >= theirs[fg] - np.linalg.norm(sampling) - 1e-5).all()
    touching = fg & ndimage.binary_dilation(~fg, np.ones((3,) * fg.ndim))
    to_touching = ndimage.distance_transform_edt(~touching, sampling)
    np.testing.assert_allclose(-theirs[fg], to_touching[fg], rtol=2e-6, atol=1e-5)
