"""Signed maps as others make them: Kervadec's recipe, MONAI, ITK."""

import numpy as np
import pytest
import torch
from cases import blobs
from scipy import ndimage
from test_labels import random_labels

from fastdist import signed_distance, signed_distance_maps


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
def test_inner_is_itks_signed_maurer_of_any_shape(shape, sampling, provider):
    sampling = sampling[: len(shape)]
    for fg in (blobs(shape), np.random.default_rng(3).random(shape) < 0.8):
        theirs = signed_maurer(fg, sampling)
        got = signed_distance(torch.from_numpy(fg), sampling, ndim=fg.ndim, zero="inner")
        np.testing.assert_allclose(got, theirs, rtol=2e-6, atol=2e-6)
