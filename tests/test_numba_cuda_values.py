"""The provider numba for CUDA tensors: each op against its definition.

On a GPU, and, in a process of their own that `test_numba_cuda.py` starts with NUMBA_ENABLE_CUDASIM
and FASTDIST_REHEARSE set to 1, on CPU tensors under Numba's simulator: the same kernels, as Python.
"""

import warnings

import cases
import numpy as np
import oracles
import pytest
import torch
from cases import PATTERNS, Case
from cuda_support import DEVICE, REHEARSE, answer, needs_cuda
from test_labels import random_labels

from fastdist import distance_transform_edt, edt, edt_labels, ops, signed_distance_maps
from fastdist.providers import composed_loss, numba_cuda
from fastdist.providers.numba_cuda_launch import simulating

pytestmark = [
    *needs_cuda,
    pytest.mark.skipif(REHEARSE and not simulating(), reason="rehearsed by test_numba_cuda.py"),
]

SHAPES = [(1,), (2,), (13,), (1, 1), (5, 6), (1, 9), (9, 1), (1, 1, 1), (4, 5, 6), (3, 1, 7)]
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
    torch.bfloat16, torch.float32, torch.float64, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(autouse=True)
def _numba_answers(monkeypatch):
    # In the rehearsal CPU tensors stand for a GPU's: the host must not look at them.
    monkeypatch.setattr(composed_loss, "on_host", lambda tensor: False)
    registration = torch.library.Library("fastdist", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        for op, kernel in numba_cuda.IMPLEMENTATIONS.items():
            registration.impl(op, kernel, DEVICE.upper(), allow_override=True)
    yield
    registration._destroy()


def masks_of(shape) -> torch.Tensor:
    """The masks of all patterns as one batch [P, *shape]."""
    return torch.from_numpy(np.stack([Case(pattern, shape).mask for pattern in PATTERNS]))


def squared_of(shape, sampling=None, border: bool = False) -> np.ndarray:
    """The oracle's squared distances for `masks_of`, whole ones as int64."""
    return np.stack(
        [oracles.sweeps_squared(~mask, sampling, border) for mask in masks_of(shape).numpy()]
    )


# ------------------------------------------------------------------ transforms


@every_shape
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_squared_distances_are_exact(shape, border):
    expected = squared_of(shape, border=border)
    none = expected == oracles.NO_SITE
    for dtype in (torch.int32, torch.int64):
        options = {"ndim": len(shape), "squared": True, "border": border, "dtype": dtype}
        got = answer(edt, masks_of(shape), **options).numpy()
        np.testing.assert_array_equal(got, np.where(none, np.iinfo(got.dtype).max, expected))
    for dtype in (np.float32, np.float64):
        options = {"border": border, "dtype": getattr(torch, dtype.__name__)}
        got = answer(edt, masks_of(shape), ndim=len(shape), **options)
        np.testing.assert_array_equal(got, oracles.root(expected).astype(dtype))


@every_shape
def test_any_spacing(shape):
    ndim = len(shape)
    spacings = [*cases.INTEGER_SAMPLINGS[ndim], *cases.FLOAT_SAMPLINGS[ndim], (0.5,) * ndim]
    for border in (False, True):
        for sampling in spacings:
            expected = oracles.root(squared_of(shape, sampling, border))
            for dtype, relative in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
                options = {"ndim": ndim, "border": border, "dtype": dtype}
                got = answer(edt, masks_of(shape), sampling, **options)
                np.testing.assert_allclose(got, expected, rtol=relative)


@every_shape
def test_a_spacing_for_each_item(shape):
    masks = masks_of(shape)
    rows = np.random.default_rng(0).uniform(0.3, 3, (len(masks), len(shape)))
    rows[::3] = np.rint(rows[::3] + 1)
    expected = [oracles.pairs(~mask, row) for mask, row in zip(masks.numpy(), rows, strict=True)]
    options = {"ndim": len(shape), "return_indices": True, "dtype": torch.float64}
    got, indices = answer(edt, masks, torch.from_numpy(rows), **options)
    for item, (squared, nearest) in enumerate(expected):
        np.testing.assert_allclose(got[item], oracles.root(squared), rtol=1e-12)
        if item % 3 == 0:  # whole numbers: ties are exact
            np.testing.assert_array_equal(indices[:, item], nearest)


def test_very_small_and_very_large_spacings():
    masks = masks_of((5, 6))
    for sampling in ((1e-200, 1.3e-200), (1e-30, 1e-24), (1e200, 3e200)):
        relative = tuple(step / sampling[0] for step in sampling)
        expected = oracles.root(squared_of((5, 6), relative)) * sampling[0]
        for given in (sampling, torch.tensor([sampling] * len(masks), dtype=torch.float64)):
            got = answer(edt, masks, given, ndim=2, dtype=torch.float64)
            np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_squares_beyond_32_and_beyond_53_bits():
    masks = masks_of((5, 6))
    for step in (2**14, 2**26 + 1):
        expected = squared_of((5, 6), (step, 3))
        distances = torch.empty(masks.shape, dtype=torch.int64)

        def squares(masks, distances, step=step):
            ops.edt_out(masks, 2, [float(step), 3.0], None, True, False, distances)
            return distances

        np.testing.assert_array_equal(answer(squares, masks, distances), expected)


@pytest.mark.parametrize("shape", [(7,), (5, 6), (6, 6), (3, 9), (4, 5, 6), (5, 5, 5)], ids=str)
def test_of_equally_near_voxels_scipys_is_named(shape):
    masks = masks_of(shape)
    for sampling in (None, *cases.INTEGER_SAMPLINGS[len(shape)]):
        got, indices = answer(edt, masks, sampling, ndim=len(shape), return_indices=True)
        assert indices.dtype == torch.int32
        for item, mask in enumerate(masks.numpy()):
            squared, nearest = oracles.pairs(~mask, sampling)
            np.testing.assert_array_equal(indices[:, item], nearest)
            np.testing.assert_array_equal(got[item], oracles.root(squared).astype(np.float32))


@pytest.mark.parametrize("shape", [(3, 4, 2, 3), (2, 3, 2, 2, 3)], ids=str)
def test_more_than_three_axes(shape):
    mask = np.random.default_rng(0).random(shape) < 0.9
    squared, nearest = oracles.pairs(~mask)
    got, indices = answer(distance_transform_edt, torch.from_numpy(mask), return_indices=True)
    np.testing.assert_array_equal(got, oracles.root(squared))
    np.testing.assert_array_equal(indices, nearest)


def test_a_line_of_many_thousand_voxels():
    shape = (70_001, 2)
    sites = np.zeros(shape, bool)
    found = [(0, 0), (70_000, 1), (30_000, 1)]
    for site in found:
        sites[site] = True
    got = answer(edt, torch.from_numpy(~sites), ndim=2, squared=True)
    np.testing.assert_array_equal(got, oracles.few_sites_squared(shape, found))


@every_dtype
def test_masks_of_every_dtype(dtype):
    shape = (2, 5, 6)
    values = np.random.default_rng(1).integers(0, 2, shape).astype(np.float64)
    expected = np.stack([oracles.distance_to(one == 0) for one in values])
    if dtype.is_floating_point:
        values[values == 0] = -0.0
        values[0, values[0] == 1] = np.nan
    mask = torch.from_numpy(values).to(dtype)
    for given in (mask, mask.transpose(1, 2).contiguous().transpose(1, 2)):
        np.testing.assert_allclose(answer(edt, given, ndim=2), expected, rtol=1e-6)


@every_dtype
def test_labels_of_every_dtype(dtype):
    labels = random_labels((2, 5, 6), 2 if dtype == torch.bool else 5)
    expected = np.stack([oracles.label_distance(one) for one in labels])
    values = labels.astype(np.float64)
    values[:, :, ::2][values[:, :, ::2] == 0] *= -1  # -0.0, every other column
    given = torch.from_numpy(values).to(dtype)
    np.testing.assert_allclose(answer(edt_labels, given, ndim=2), expected, rtol=1e-6)


@every_shape
@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
def test_labels_at_any_spacing(shape, border):
    for count in (1, 2, 4):
        labels = random_labels(shape, count)
        for sampling in (None, *cases.FLOAT_SAMPLINGS[len(shape)]):
            expected = oracles.label_distance(labels, sampling, border)
            options = {"ndim": len(shape), "border": border}
            got = answer(edt_labels, torch.from_numpy(labels), sampling, **options)
            np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3), (3, 2, 0)], ids=str)
def test_nothing_comes_of_nothing(shape):
    mask = torch.ones(shape, dtype=torch.bool)
    got, indices = answer(edt, mask, ndim=1, return_indices=True)
    assert (got.shape, indices.shape) == (shape, (1, *shape))
    assert answer(edt_labels, mask, ndim=1).shape == shape
    if len(shape) > 1:
        assert answer(signed_distance_maps, mask, 2).shape == (shape[0], 2, *shape[1:])
