"""return_indices: the nearest voxel itself, and SciPy's choice where several are equally near."""

import numpy as np
import oracles
import pytest
import torch
from cases import ALL, FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, TIE_SHAPES
from conftest import affordable
from scipy import ndimage

from fastdist import edt


def with_indices(sites: np.ndarray, sampling=None, **options):
    mask = torch.from_numpy(~sites)
    return edt(mask, sampling, ndim=mask.dim(), return_indices=True, **options)


def scipys(sites: np.ndarray, sampling=None) -> np.ndarray:
    return ndimage.distance_transform_edt(
        ~sites, sampling, return_distances=False, return_indices=True
    )


@pytest.mark.parametrize("case", ALL, ids=str)
def test_indices_are_scipys_at_unit_spacing(case, provider):
    affordable(provider, case.sites.size, case.sites.sum())
    distances, indices = with_indices(case.sites)
    assert indices.dtype == torch.int32
    assert indices.shape == (len(case.shape), *case.shape)
    assert indices.is_contiguous()
    if case.sites.any():
        np.testing.assert_array_equal(indices, scipys(case.sites))
    else:
        assert (indices == -1).all()
    expected = oracles.root(case.squared()).astype(np.float32)
    np.testing.assert_array_equal(distances, expected)


@pytest.mark.parametrize("density", [0.005, 0.03, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("shape", TIE_SHAPES, ids=str)
def test_ties_follow_scipys_rule_on_random_inputs(shape, density, provider):
    rng = np.random.default_rng(int(density * 1000))
    repeats = 4 if provider == "reference" else 12
    sites = rng.random((repeats, *shape)) < density
    for sampling in INTEGER_SAMPLINGS[len(shape)]:
        _, indices = edt(torch.from_numpy(~sites), sampling, ndim=len(shape), return_indices=True)
        for item in range(repeats):
            if sites[item].any():
                np.testing.assert_array_equal(indices[:, item], scipys(sites[item], sampling))


@pytest.mark.parametrize(
    ("shape", "sampling"),
    [((20, 30), (1000, 1)), ((20, 30), (1, 5000)), ((30, 20), (65536, 1)),
     ((30, 20), (100_000, 70_000)), ((8, 9, 10), (3000, 2000, 1)), ((300,), (2**22,)),
     ((8, 9, 10), (2**20, 3, 2**19))],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("density", [0.02, 0.1, 0.4])
def test_ties_at_integer_samplings_beyond_float32_and_int32(shape, sampling, density, provider):
    sites = np.random.default_rng(21).random(shape) < density
    sites.flat[-1] = True
    np.testing.assert_array_equal(with_indices(sites, sampling)[1], scipys(sites, sampling))


@pytest.mark.parametrize("sampling", [None, (1, 1), (2, 3), (7, 1)], ids=str)
def test_points_in_general_symmetry(sampling, provider):
    # Sites on a circle and on the axes: up to eight voxels tie at the centre and along diagonals.
    sites = np.zeros((41, 41), bool)
    for y, x in [(12, 16), (16, 12), (20, 0), (0, 20)]:
        for sy, sx in [(1, 1), (1, -1), (-1, 1), (-1, -1)]:
            sites[20 + sy * y, 20 + sx * x] = True
    np.testing.assert_array_equal(with_indices(sites, sampling)[1], scipys(sites, sampling))


@pytest.mark.parametrize("shape", [(40,), (13, 17), (6, 7, 8)], ids=str)
def test_at_any_spacing_the_returned_voxel_is_a_nearest_zero(shape, provider):
    rng = np.random.default_rng(9)
    for sampling in FLOAT_SAMPLINGS[len(shape)]:
        for density in (0.02, 0.2):
            sites = rng.random(shape) < density
            sites.flat[-1] = True
            distances, indices = with_indices(sites, sampling, dtype=torch.float64)
            indices = indices.numpy()
            assert sites[tuple(indices)].all()
            steps = np.reshape(sampling, (-1,) + (1,) * len(shape))
            reached = np.sqrt((((indices - np.indices(shape)) * steps) ** 2).sum(0))
            np.testing.assert_allclose(reached, oracles.distance_to(sites, sampling), rtol=1e-12)
            np.testing.assert_allclose(distances, reached, rtol=1e-12)


def test_every_item_may_have_its_own_spacing(provider):
    sites = np.random.default_rng(10).random((3, 2, 12, 9)) < 0.1
    sites[..., 0, 0] = True
    sampling = np.array([[1.0, 1.0], [1.0, 3.0], [2.0, 1.0]])
    _, indices = edt(
        torch.from_numpy(~sites), torch.from_numpy(sampling), ndim=2, return_indices=True
    )
    assert indices.shape == (2, 3, 2, 12, 9)
    for item in range(3):
        for channel in range(2):
            np.testing.assert_array_equal(
                indices[:, item, channel], scipys(sites[item, channel], sampling[item])
            )


def test_squared_integers_come_with_indices(provider):
    sites = np.random.default_rng(11).random((20, 21)) < 0.05
    squared, indices = with_indices(sites, squared=True)
    assert squared.dtype == torch.int32
    np.testing.assert_array_equal(squared, oracles.sweeps_squared(sites))
    offsets = indices.numpy() - np.indices(sites.shape)
    np.testing.assert_array_equal((offsets**2).sum(0), squared)


def test_an_image_without_zeros_has_index_minus_one(provider):
    mask = torch.ones(2, 5, 6)
    mask[0, 1, 1] = 0
    distances, indices = edt(mask, ndim=2, return_indices=True)
    assert (indices[:, 1] == -1).all()
    assert torch.isinf(distances[1]).all()
    assert (indices[:, 0] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(4111, 70), (70, 4111), (257, 251), (37, 1031, 29), (64, 65, 66)], ids=str
)
@pytest.mark.parametrize("density", [0.5, 0.05, 1e-4])
def test_large_indices_are_scipys(shape, density, quick):
    sites = np.random.default_rng(12).random(shape) < density
    sites[(0,) * len(shape)] = True
    np.testing.assert_array_equal(with_indices(sites)[1], scipys(sites))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(46342, 1), (1, 46342), (46342, 3)], ids=str)
def test_ties_at_distances_beyond_int32(shape, quick):
    # Two sites at the ends: in the middle the squared distances are equal and near 2^29.
    sites = np.zeros(shape, bool)
    sites[0, 0] = sites[-1, -1] = True
    np.testing.assert_array_equal(with_indices(sites)[1], oracles.pairs(sites)[1])
