"""edt: distances to the nearest zero voxel are exact, at any size, spacing and dtype."""

import os

import numpy as np
import oracles
import pytest
import torch
from cases import ALL, FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, SHAPES, SMALL, SMALL_SHAPES
from conftest import affordable
from scipy import ndimage

from fastdist import edt

ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-12}


def integers_as_stored(squared: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """The oracle's int64 squared distances as an output of this dtype holds them."""
    largest = torch.iinfo(dtype).max
    return np.where(squared == oracles.NO_SITE, largest, squared)


def integer_dtype(shape) -> torch.dtype:
    """int32 while the largest possible squared distance fits."""
    return torch.int32 if sum((n - 1) ** 2 for n in shape) < 2**31 else torch.int64


@pytest.mark.parametrize("case", ALL, ids=str)
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_unit_spacing_is_exact(case, border, provider):
    affordable(provider, case.sites.size, case.sites.sum())
    mask = torch.from_numpy(case.mask)
    expected = case.squared(border)
    squared = edt(mask, ndim=mask.dim(), squared=True, border=border)
    assert squared.dtype == integer_dtype(case.shape)
    np.testing.assert_array_equal(squared, integers_as_stored(expected, squared.dtype))
    # Correctly rounded: the float64 root of an integer, rounded once more for float32.
    roots = oracles.root(expected)
    single = edt(mask, ndim=mask.dim(), border=border)
    assert single.dtype == torch.float32
    np.testing.assert_array_equal(single, roots.astype(np.float32))
    double = edt(mask, ndim=mask.dim(), border=border, dtype=torch.float64)
    assert double.dtype == torch.float64
    np.testing.assert_array_equal(double, roots)


#: Whole numbers that are easily misrounded (test_emulator.py), as distances between corners.
HARD_ROOTS = [
    (8_259_749, (71, 3, 2), (41, 70, 57)),
    (15_635_314, (988, 8, 4), (4, 31, 13)),
]


@pytest.mark.parametrize(("squared", "shape", "spacing"), HARD_ROOTS)
def test_roots_that_are_hard_to_round(squared, shape, spacing, provider):
    affordable(provider, int(np.prod(shape)), 1)
    mask = torch.ones(shape, dtype=torch.bool)
    mask[0, 0, 0] = False
    found = edt(mask, spacing, ndim=3)[-1, -1, -1]
    assert float(found) == float(np.float32(np.sqrt(np.float64(squared))))


def corners_and_centre(shape):
    return [
        [(0,) * len(shape)],
        [tuple(n - 1 for n in shape)],
        [tuple(n // 2 for n in shape), tuple(n - 1 for n in shape), (0,) * len(shape)],
    ]


# Where float32 integers end (2^24), where int32 ends (2^31), and columns of thousands of rows.
LARGE = [
    (4097, 4097), (46341, 1), (46342, 1), (1, 46342), (46342, 3), (5, 46342), (46342, 1, 2),
    (2, 46342, 1), (5003,), (46342,), (16_777_300,), (4099, 130), (130, 4099), (3, 4099, 33),
    (4099, 3, 33), (3, 33, 4099), (33000, 17), (17, 33000),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shape", LARGE, ids=lambda s: "x".join(map(str, s)))
def test_large_squared_integers_are_exact(shape, quick):
    for found in corners_and_centre(shape)[:: 2 if np.prod(shape) > 1e7 else 1]:
        mask = torch.ones(shape, dtype=torch.bool)
        mask[tuple(torch.tensor(found).T)] = False
        expected = oracles.few_sites_squared(shape, found)
        squared = edt(mask, ndim=len(shape), squared=True)
        assert squared.dtype == integer_dtype(shape)
        assert np.array_equal(squared, expected)
        assert np.array_equal(
            edt(mask, ndim=len(shape)), np.sqrt(expected.astype(np.float64)).astype(np.float32)
        )


@pytest.mark.skipif(not os.environ.get("FASTDIST_TEST_HUGE"), reason="needs 14 GB of memory")
def test_more_than_two_to_the_31_voxels(quick):
    # Zeros on a grid of another width in each image, so that the axes are independent.
    mask = torch.ones(2, 32768, 32769, dtype=torch.uint8)
    mask[0, ::64, ::100] = 0
    mask[1, ::33, ::70] = 0
    distances = edt(mask, ndim=2)
    for item, (rows, columns) in enumerate([(64, 100), (33, 70)]):
        y = np.abs(np.subtract.outer(np.arange(32768), np.arange(0, 32768, rows))).min(1) ** 2
        x = np.abs(np.subtract.outer(np.arange(32769), np.arange(0, 32769, columns))).min(1) ** 2
        for part in (slice(0, 300), slice(32500, 32768)):
            expected = np.sqrt((y[part, None] + x).astype(np.float64))
            assert np.array_equal(distances[item, part], expected.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("density", [0.5, 1e-2, 1e-4])
@pytest.mark.parametrize(
    "shape", [(4111, 70), (70, 4111), (1031, 1033), (37, 1031, 29), (130, 129, 131)], ids=str
)
def test_large_noise_is_exact(shape, density, quick):
    sites = np.random.default_rng(len(shape)).random(shape) < density
    sites[-1] = False
    indices = ndimage.distance_transform_edt(~sites, return_distances=False, return_indices=True)
    expected = ((indices - np.indices(shape, sparse=False)).astype(np.int64) ** 2).sum(0)
    squared = edt(torch.from_numpy(~sites), ndim=len(shape), squared=True)
    np.testing.assert_array_equal(squared, expected)


@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_any_spacing_is_within_rounding(case, dtype, border, provider):
    affordable(provider, case.sites.size, case.sites.sum())
    mask = torch.from_numpy(case.mask)
    samplings = INTEGER_SAMPLINGS[mask.dim()] + FLOAT_SAMPLINGS[mask.dim()]
    for sampling in samplings:
        expected = oracles.distance_to(case.sites, sampling, border)
        got = edt(mask, sampling, ndim=mask.dim(), border=border, dtype=dtype)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=ROUNDING[dtype], atol=0)


@pytest.mark.parametrize("shape", [(33,), (31, 33), (7, 9, 11)], ids=str)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_squared_distances_at_any_spacing(shape, dtype, provider):
    sites = np.random.default_rng(3).random(shape) < 0.05
    for sampling in INTEGER_SAMPLINGS[len(shape)] + FLOAT_SAMPLINGS[len(shape)]:
        expected = oracles.distance_to(sites, sampling) ** 2
        got = edt(torch.from_numpy(~sites), sampling, ndim=len(shape), squared=True, dtype=dtype)
        if set(sampling) == {1} and not got.dtype.is_floating_point:
            continue  # test_unit_spacing_is_exact
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=2 * ROUNDING[dtype], atol=0)


@pytest.mark.parametrize("shape", [(4, 40), (3, 20, 17), (2, 9, 8, 7)], ids=str)
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_every_item_may_have_its_own_spacing(shape, border, provider):
    rng = np.random.default_rng(4)
    sites = rng.random(shape) < 0.05
    sampling = rng.uniform(0.3, 4, (shape[0], len(shape) - 1))
    sampling[0] = 1
    mask = torch.from_numpy(~sites)
    got = edt(
        mask, torch.from_numpy(sampling), ndim=mask.dim() - 1, border=border, dtype=torch.float64
    )
    for item in range(shape[0]):
        expected = oracles.distance_to(sites[item], sampling[item], border)
        np.testing.assert_allclose(got[item], expected, rtol=1e-12)
    single = edt(mask, torch.from_numpy(sampling).float(), ndim=mask.dim() - 1, border=border)
    np.testing.assert_allclose(single, got, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-3, 1e10, 1e20, 1e30])
@pytest.mark.parametrize("shape", [(40,), (21, 23), (7, 9, 11)], ids=str)
def test_units_of_any_size(shape, scale, provider):
    # Squares of these under- or overflow float32; the distances do not.
    sites = np.random.default_rng(19).random(shape) < 0.05
    sites.flat[0] = True
    expected = oracles.distance_to(sites) * scale
    mask = torch.from_numpy(~sites)
    np.testing.assert_allclose(edt(mask, scale, ndim=len(shape)), expected, rtol=1e-6)
    double = edt(mask, scale, ndim=len(shape), dtype=torch.float64)
    np.testing.assert_allclose(double, expected, rtol=1e-12)


def test_item_spacing_spreads_over_further_batch_axes(provider):
    sites = np.random.default_rng(5).random((2, 3, 8, 9)) < 0.1
    sampling = torch.tensor([[1.0, 2.0], [0.5, 0.25]])
    got = edt(torch.from_numpy(~sites), sampling, ndim=2)
    for item in range(2):
        for channel in range(3):
            expected = oracles.distance_to(sites[item, channel], sampling[item])
            np.testing.assert_allclose(got[item, channel], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "sampling", [2, 0.5, 2.0, (2.0, 2.0), [2, 2], np.array([2.0, 2.0])], ids=str
)
def test_spacing_as_a_number_or_any_sequence(sampling, provider):
    sites = np.random.default_rng(6).random((9, 12)) < 0.1
    expected = oracles.distance_to(sites, sampling)
    np.testing.assert_allclose(edt(torch.from_numpy(~sites), sampling, ndim=2), expected, rtol=1e-6)


@pytest.mark.parametrize("batch", [(1,), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_images_of_a_batch_are_independent(batch, ndim, provider):
    space = (5, 7, 9)[:ndim]
    sites = np.random.default_rng(7).random(batch + space) < 0.1
    got = edt(torch.from_numpy(~sites), ndim=ndim)
    assert got.shape == batch + space
    for item in np.ndindex(batch):
        expected = oracles.distance_to(sites[item])
        np.testing.assert_array_equal(got[item], expected.astype(np.float32))


@pytest.mark.parametrize("space", [(7,), (33,), (5, 7), (8, 32), (3, 4, 5)], ids=str)
def test_many_small_images(space, provider):
    sites = np.random.default_rng(20).random((1500, *space)) < 0.05
    squared = edt(torch.from_numpy(~sites), ndim=len(space), squared=True).numpy()
    for item in range(0, 1500, 7):
        expected = oracles.sweeps_squared(sites[item])
        np.testing.assert_array_equal(squared[item], integers_as_stored(expected, torch.int32))
    assert (squared == 2**31 - 1).any() == ~sites.reshape(1500, -1).any(1).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_batch_axis_of_one_changes_nothing(shape, provider):
    sites = np.random.default_rng(8).random(shape) < 0.02
    affordable(provider, sites.size, sites.sum())
    mask = torch.from_numpy(~sites)
    np.testing.assert_array_equal(
        edt(mask[None], ndim=mask.dim(), dtype=torch.float64)[0], oracles.distance_to(sites)
    )


@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_no_zero_voxel_is_infinitely_far(border, provider):
    mask = torch.ones(2, 4, 5)
    mask[1, 2, 2] = 0
    got = edt(mask, ndim=2, border=border)
    squared = edt(mask, ndim=2, border=border, squared=True)
    assert torch.isinf(got[0]).all().item() is not border
    assert (squared[0] == torch.iinfo(squared.dtype).max).all().item() is not border
    assert torch.isfinite(got[1]).all()


@pytest.mark.parametrize("shape", SMALL_SHAPES, ids=str)
def test_the_result_is_contiguous_and_needs_no_gradient(shape, provider):
    mask = torch.ones(shape, requires_grad=True)
    got = edt(mask.transpose(0, -1), ndim=len(shape))
    assert got.is_contiguous()
    assert not got.requires_grad
