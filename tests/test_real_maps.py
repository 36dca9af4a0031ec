"""Real label maps: the small ones in tests/data, the large ones beside the repository."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from scipy import ndimage

from fastdist import distance_transform_edt, edt, edt_labels, signed_distance, signed_distance_maps

HERE = Path(__file__).parent
SMALL = sorted((HERE / "data").glob("*.npz"))
SHARED = HERE.parent.parent / "shared" / "data"
LARGE = sorted(SHARED.glob("*.npz"))


@lru_cache(maxsize=4)
def load(path: Path) -> tuple[tuple[np.ndarray, ...], tuple[float, ...]]:
    """The label images of a file and their spacing."""
    with np.load(path) as file:
        keys = [k for k in file.files if k.startswith(("labels", "lesions"))]
        arrays = [file[k] for k in keys]
        spacing = tuple(float(h) for h in file["spacing"])
    ndim = len(spacing)
    images = []
    for array in arrays:
        images += list(array) if array.ndim > ndim else [array]
    return tuple(np.ascontiguousarray(image) for image in images), spacing


def names(path: Path) -> str:
    return path.stem


@pytest.fixture
def seung():
    return pytest.importorskip("edt")


def test_the_small_maps_are_here():
    assert len(SMALL) >= 6
    assert sum(path.stat().st_size for path in SMALL) < 300_000
    readme = (HERE / "data" / "README.md").read_text()
    for path in SMALL:
        assert path.name in readme
        with np.load(path) as file:
            assert str(file["license"])
            assert str(file["source"])


# ------------------------------------------------------------------ small maps, SciPy decides


@pytest.mark.parametrize("path", SMALL, ids=names)
def test_signed_maps_of_the_foreground(path, quick):
    (labels,), spacing = load(path)
    fg = labels > 0
    for sampling in (None, spacing):
        h = 1.0 if sampling is None else min(sampling)
        away = ndimage.distance_transform_edt(~fg, sampling)
        depth = ndimage.distance_transform_edt(fg, sampling)
        expected = np.where(fg, -(depth - h), away)
        got = signed_distance(torch.from_numpy(fg), sampling, ndim=fg.ndim).numpy()
        room = 1e-6 * (np.abs(expected) + max(spacing))
        assert (np.abs(got - expected) <= room).all()
        double = signed_distance(
            torch.from_numpy(labels), sampling, ndim=fg.ndim, dtype=torch.float64
        )
        np.testing.assert_allclose(double, expected, rtol=1e-12, atol=1e-12 * max(spacing))


@pytest.mark.parametrize("path", SMALL, ids=names)
def test_indices_and_distances_of_scipy(path, quick):
    (labels,), spacing = load(path)
    distances, indices = distance_transform_edt(labels, return_indices=True)
    expected, nearest = ndimage.distance_transform_edt(labels, return_indices=True)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(indices, nearest)
    outside, where = distance_transform_edt(labels == 0, return_indices=True)
    expected, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    np.testing.assert_allclose(outside, expected, rtol=1e-12)
    np.testing.assert_array_equal(where, nearest)
    np.testing.assert_allclose(
        distance_transform_edt(labels, spacing),
        ndimage.distance_transform_edt(labels, spacing),
        rtol=1e-12,
    )


@pytest.mark.parametrize("path", SMALL, ids=names)
def test_maps_of_all_classes(path, quick):
    (labels,), spacing = load(path)
    labels = np.searchsorted(np.unique(labels), labels)  # 0 .. C - 1 without gaps
    classes = min(int(labels.max()) + 1, 6)
    labels = np.where(labels < classes, labels, 255)  # the others are unknown
    got = signed_distance_maps(
        torch.from_numpy(labels)[None], classes, spacing, ignore_index=255, zero="none"
    )[0].numpy()
    known = labels != 255
    for k in range(classes):
        fg = labels == k
        expected = ndimage.distance_transform_edt(~fg, spacing)
        other = known & ~fg
        expected = np.where(fg, -ndimage.distance_transform_edt(~other, spacing), expected)
        np.testing.assert_allclose(got[k], np.where(known, expected, 0), rtol=1e-6)


def test_a_small_map_by_brute_force(provider):
    # A corner of the tumour, for every provider, the slow one too.
    (labels,), spacing = load(HERE / "data" / "brain_tumour.npz")
    fg = labels[20:36, 30:48, 4:12] > 0
    assert fg.any()
    assert not fg.all()
    got = signed_distance(torch.from_numpy(fg), spacing, ndim=3, zero="inner")
    expected = oracles.signed_map(fg, sampling=spacing, zero="inner")
    assert (np.abs(got.numpy() - expected) <= oracles.tolerance(expected, 1e-6, spacing)).all()


# ------------------------------------------------------------------ every map, edt decides


def image(path: Path, number: int) -> np.ndarray:
    """The label image, or the middle slices of a volume that is too large for a short test."""
    labels = load(path)[0][number]
    slices = max(1, 2**24 // (labels.size // len(labels)))
    start = max(0, (len(labels) - slices) // 2)
    return labels[start : start + slices]


@lru_cache(maxsize=1)
def theirs(path: Path, number: int):
    """Squared distances to the nearest other label by the edt package, at unit spacing."""
    import edt as seung

    return seung.edtsq(image(path, number).astype(np.uint32) + 1, black_border=False)


IMAGES = [(path, number) for path in LARGE for number in range(len(load(path)[0]))]
load.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(not LARGE, reason="../shared/data is not here")
@pytest.mark.parametrize(
    ("path", "number"), IMAGES, ids=[f"{path.stem}-{number}" for path, number in IMAGES]
)
def test_every_map_is_exact(path, number, quick, seung):
    # float32 squares of the edt package are exact integers here: they stay below 2^24.
    labels = image(path, number)
    expected = theirs(path, number)
    assert expected[np.isfinite(expected)].max() < 2**24
    tensor = torch.from_numpy(labels if labels.dtype != np.uint16 else labels.astype(np.int32))
    squared = edt_labels(tensor, ndim=labels.ndim, squared=True)
    assert squared.dtype == torch.int32
    assert np.array_equal(squared.numpy(), np.where(np.isfinite(expected), expected, 2**31 - 1))
    single = edt_labels(tensor, ndim=labels.ndim)
    assert np.array_equal(single.numpy(), np.sqrt(expected))
    if labels.max() == 1:  # a mask: the unsigned transform and the signed map are the same numbers
        inside = np.where(labels, expected, 0)
        assert np.array_equal(edt(tensor, ndim=labels.ndim, squared=True).numpy(), inside)
        signed = signed_distance(tensor, ndim=labels.ndim, zero="none").numpy()
        assert np.array_equal(np.abs(signed), single.numpy())
        assert np.array_equal(signed < 0, labels == 1)


@pytest.mark.slow
@pytest.mark.skipif(not LARGE, reason="../shared/data is not here")
@pytest.mark.parametrize("path", LARGE, ids=names)
def test_every_map_at_its_own_spacing(path, quick):
    images, spacing = load(path)
    if set(spacing) == {1.0}:
        spacing = (0.7, 1.3, 2.1)[: images[0].ndim]
    labels = images[-1]
    middle = np.argwhere(labels != labels.flat[0]).mean(0).astype(int)  # where there is something
    reach = 400 if labels.ndim == 2 else 60
    labels = labels[tuple(slice(max(0, m - reach), m + reach) for m in middle)]
    values = np.unique(labels)
    assert len(values) > 1
    for value in values[:: max(1, len(values) // 2)]:
        own = labels == value
        expected = ndimage.distance_transform_edt(own, spacing)
        got = edt(torch.from_numpy(own), spacing, ndim=own.ndim)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        double = edt(torch.from_numpy(own), spacing, ndim=own.ndim, dtype=torch.float64)
        np.testing.assert_allclose(double, expected, rtol=1e-12)
        others = edt_labels(torch.from_numpy(labels.astype(np.int32)), spacing, ndim=own.ndim)
        np.testing.assert_allclose(others[torch.from_numpy(own)], expected[own], rtol=1e-6)
