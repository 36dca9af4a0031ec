"""signed_distance: every convention of design 4.4, for one mask per image."""

from itertools import product

import numpy as np
import oracles
import pytest
import torch
from cases import FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, SMALL, blobs
from conftest import affordable
from scipy import ndimage

from fastdist import signed_distance

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
    fg = blobs(shape)
    for sampling in INTEGER_SAMPLINGS[len(shape)] + FLOAT_SAMPLINGS[len(shape)]:
        expected = oracles.signed_map(fg, sampling=sampling, zero=zero, border=border)
        for dtype in (torch.float32, torch.float64):
            got = signed_distance(
                torch.from_numpy(fg), sampling, ndim=fg.ndim, zero=zero, border=border, dtype=dtype
            )
            assert_is_map(got, expected, sampling)


@pytest.mark.parametrize("zero", ZEROS)
def test_the_default_is_shifted_open_unclipped_float32(zero, provider):
    fg = torch.from_numpy(blobs((30, 31)))
    got = signed_distance(fg, ndim=2)
    assert got.dtype == torch.float32
    assert_is_map(got, oracles.signed_map(fg.numpy(), zero="shifted"))


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("clip", [None, 0.75, 2.0, 1e6])
@pytest.mark.parametrize("zero", ZEROS)
def test_clip_comes_before_normalization(zero, clip, normalize, provider):
    fg = blobs((30, 41))
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
    fg = torch.from_numpy(blobs((20, 20)))
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
    fg = torch.from_numpy(blobs((25, 26)))
    plain, bordered = (signed_distance(fg, ndim=2, border=b) for b in (False, True))
    np.testing.assert_array_equal(plain[~fg], bordered[~fg])
    assert (bordered[fg] >= plain[fg]).all()
    assert (bordered[0][fg[0]] == 0).all()


def test_every_item_may_have_its_own_spacing(provider):
    masks = np.stack([blobs((2, 12, 13)), ~blobs((2, 12, 13))])
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
    fg = blobs((33, 65))
    expected = oracles.signed_map(fg, zero="none", border=border).astype(np.float32)
    got = signed_distance(torch.from_numpy(fg), ndim=2, zero="none", border=border)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("shape", [(4097, 40), (40, 4097), (129, 127, 131)], ids=str)
def test_large_masks(shape, zero, quick):
    fg = blobs(shape)
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
