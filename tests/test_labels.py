"""edt_labels: distance to the nearest voxel of a different label."""

import numpy as np
import oracles
import pytest
import torch
from cases import FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, SMALL, blobs
from conftest import affordable
from scipy import ndimage

from fastdist import edt_labels

SHAPES = [(0,), (1,), (33,), (70,), (1, 7), (31, 33), (64, 65), (7, 9, 11), (5, 1, 17), (2, 0, 3)]


def random_labels(shape, count: int, seed: int = 0) -> np.ndarray:
    """Labels 0 .. count - 1 in small blobs; some touch, some are single voxels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, count, [(n + 2) // 3 for n in shape])
    labels = coarse
    for axis, n in enumerate(shape):
        labels = np.repeat(labels, 3, axis).take(range(n), axis)
    speckle = rng.random(shape) < 0.1
    return np.where(speckle, rng.integers(0, count, shape), labels)


@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
@pytest.mark.parametrize("count", [1, 2, 5, 300])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unit_spacing_is_exact(shape, count, border, provider):
    labels = random_labels(shape, count)
    affordable(provider, labels.size * min(count, labels.size), labels.size)
    expected = oracles.label_distance(labels, border=border)
    got = edt_labels(torch.from_numpy(labels), ndim=labels.ndim, border=border)
    np.testing.assert_array_equal(got, expected.astype(np.float32))
    double = edt_labels(
        torch.from_numpy(labels), ndim=labels.ndim, border=border, dtype=torch.float64
    )
    np.testing.assert_array_equal(double, expected)
    squared = edt_labels(torch.from_numpy(labels), ndim=labels.ndim, border=border, squared=True)
    assert squared.dtype == torch.int32
    none = np.isinf(expected)
    assert (squared.numpy()[none] == 2**31 - 1).all()
    np.testing.assert_array_equal(squared.numpy()[~none], np.rint(expected[~none] ** 2))


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_two_labels_see_each_other(case, provider):
    affordable(provider, case.sites.size, case.sites.size)
    labels = torch.from_numpy(case.sites.astype(np.uint8))
    expected = oracles.label_distance(case.sites).astype(np.float32)
    np.testing.assert_array_equal(edt_labels(labels, ndim=labels.dim()), expected)


@pytest.mark.parametrize("border", [False, True], ids=["open", "border"])
@pytest.mark.parametrize("shape", [(33,), (31, 33), (7, 9, 11)], ids=str)
def test_any_spacing_is_within_rounding(shape, border, provider):
    labels = random_labels(shape, 6)
    for sampling in INTEGER_SAMPLINGS[len(shape)] + FLOAT_SAMPLINGS[len(shape)]:
        expected = oracles.label_distance(labels, sampling, border)
        for dtype, rtol in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
            got = edt_labels(
                torch.from_numpy(labels), sampling, ndim=len(shape), border=border, dtype=dtype
            )
            np.testing.assert_allclose(got, expected, rtol=rtol)


def test_every_item_may_have_its_own_spacing(provider):
    labels = random_labels((2, 3, 12, 13), 4)
    sampling = np.array([[1.0, 2.5], [0.3, 0.7]])
    got = edt_labels(torch.from_numpy(labels), torch.from_numpy(sampling), ndim=2)
    for item in range(2):
        for channel in range(3):
            expected = oracles.label_distance(labels[item, channel], sampling[item])
            np.testing.assert_allclose(got[item, channel], expected, rtol=1e-6)


@pytest.mark.parametrize("black_border", [False, True])
@pytest.mark.parametrize("shape", [(50,), (61, 64), (128, 37), (17, 33, 20)], ids=str)
@pytest.mark.parametrize("anisotropy", [1.0, 2.0, "axes"])
def test_is_edt_of_labels_plus_one(shape, anisotropy, black_border, provider):
    # Zero is a label like any other; the edt package leaves its zeros out.
    seung = pytest.importorskip("edt")
    labels = random_labels(shape, 7, seed=1).astype(np.uint32)
    affordable(provider, labels.size * 7, labels.size)
    steps = (
        np.linspace(1, 3, len(shape)) if anisotropy == "axes" else np.full(len(shape), anisotropy)
    )
    theirs = seung.edt(
        labels + 1,
        anisotropy=float(steps[0]) if len(shape) == 1 else tuple(steps.tolist()),
        black_border=black_border,
    )
    got = edt_labels(torch.from_numpy(labels), steps, ndim=len(shape), border=black_border)
    np.testing.assert_allclose(got, theirs, rtol=2e-6)


def test_one_label_only_is_infinitely_far(provider):
    got = edt_labels(torch.full((2, 6, 7), 3), ndim=2)
    assert torch.isinf(got).all()
    squared = edt_labels(torch.full((6, 7), 3), ndim=2, squared=True)
    assert (squared == torch.iinfo(squared.dtype).max).all()


def test_with_a_border_one_label_is_its_distance_to_the_edge(provider):
    got = edt_labels(torch.full((5, 7), -4), ndim=2, border=True)
    expected = np.minimum.outer([1, 2, 3, 2, 1], [1, 2, 3, 4, 3, 2, 1])
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([-1, 0, 7], dtype=torch.int8),
        torch.tensor([-(2**63), 2**63 - 1, 0], dtype=torch.int64),
        torch.tensor([2**40, 2**40 + 2**32, 5], dtype=torch.int64),  # equal in their low 32 bits
        torch.tensor([0.25, 0.75, -0.25], dtype=torch.float32),
        torch.tensor([1e300, 2e300, -1.0], dtype=torch.float64),
        torch.tensor([0.5, 1.5, 2.5], dtype=torch.bfloat16),
        torch.tensor([0.5, 1.5, 2.5], dtype=torch.float16),
        torch.tensor([0, 1, 255], dtype=torch.uint8),
        torch.tensor([False, True, False]),
    ],
    ids=lambda v: str(v.dtype),
)
def test_labels_are_compared_in_their_own_dtype(values, provider):
    classes = np.random.default_rng(13).integers(0, 3, (14, 15))
    labels = values[torch.from_numpy(classes)]
    if values.dtype == torch.bool:
        classes = classes == 1
    expected = oracles.label_distance(classes).astype(np.float32)
    np.testing.assert_array_equal(edt_labels(labels, ndim=2), expected)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4097, 33), (33, 4097), (129, 131, 127)], ids=str)
def test_large_labels_are_exact(shape, quick):
    labels = blobs(shape).astype(np.int16) + 2 * blobs((*shape, 1))[..., 0]
    expected = np.empty(shape)
    for value in np.unique(labels):
        own = labels == value
        expected[own] = ndimage.distance_transform_edt(own)[own]
    got = edt_labels(torch.from_numpy(labels), ndim=len(shape))
    np.testing.assert_array_equal(got, expected.astype(np.float32))
