"""return_indices at any spacing: a nearest zero, ties where distances are whole, the cost."""

import time
from functools import partial

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fastdist import distance_transform_edt, edt, providers
from fastdist.providers import emulator

#: Spacings and the whole numbers that they are in the ratio of.
COMMENSURABLE = [
    ((0.8, 0.46875, 0.46875), (128, 75, 75)),
    ((1.25, 1.0, 1.0), (5, 4, 4)),
    ((0.5859, 0.5859, 3.3), (1953, 1953, 11000)),
    ((0.07, 0.1), (7, 10)),
    ((0.1, 0.3), (1, 3)),
    ((2.5, 0.5, 1.5, 1.0), (5, 1, 3, 2)),
]
INCOMMENSURABLE = [
    (0.7421, 0.5859375, 1.2500001),
    (1.0, 2.0**0.5),
    (np.pi, 1.0, np.e),
    (float(np.float32(0.8)), float(np.float32(0.7)), 1.0),
    (1e-3, 1.0, 1.7e3),
    (1.1, 0.3**0.5, 1.0, 0.7),
]
#: The providers whose sums are whole numbers at commensurable spacings.
WHOLE = ("extension", "emulator")


def shape_for(ndim: int) -> tuple[int, ...]:
    return {1: (83,), 2: (37, 26), 3: (13, 21, 18), 4: (5, 7, 6, 9)}[ndim]


def reached(indices: np.ndarray, sampling) -> np.ndarray:
    steps = np.reshape(sampling, (-1,) + (1,) * (indices.ndim - 1))
    return np.sqrt((((indices - np.indices(indices.shape[1:])) * steps) ** 2).sum(0))


def check_nearest(sites: np.ndarray, sampling, distances, indices) -> None:
    assert sites[tuple(indices)].all()
    expected = oracles.distance_to(sites, sampling)
    np.testing.assert_allclose(reached(indices, sampling), expected, rtol=1e-12)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)


def with_indices(sites: np.ndarray, sampling):
    return distance_transform_edt(~sites, sampling, return_indices=True)


@pytest.mark.parametrize("density", [0.002, 0.05, 0.5])
@pytest.mark.parametrize(("sampling", "whole"), COMMENSURABLE, ids=str)
def test_ties_at_commensurable_spacings(sampling, whole, density, provider):
    shape = shape_for(len(sampling))
    for seed in range(3):
        sites = np.random.default_rng(seed).random(shape) < density
        sites.flat[seed * 7] = True
        distances, indices = with_indices(sites, sampling)
        check_nearest(sites, sampling, distances, indices)
        if provider in WHOLE:
            np.testing.assert_array_equal(indices, oracles.pairs(sites, whole)[1])


@pytest.mark.parametrize("density", [0.002, 0.05, 0.5])
@pytest.mark.parametrize("sampling", INCOMMENSURABLE, ids=str)
def test_a_nearest_zero_at_incommensurable_spacings(sampling, density, provider):
    for seed in range(3):
        sites = np.random.default_rng(seed).random(shape_for(len(sampling))) < density
        sites.flat[-1 - seed] = True
        check_nearest(sites, sampling, *with_indices(sites, sampling))


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 60), (60, 1), (1, 7, 1, 9), (40, 3), (33, 17), (3, 40, 17), (2, 16, 15), (65, 33),
     (45, 17), (65, 12, 7), (32, 3, 4, 5)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("step", [1.0, 0.5, 0.7421], ids=str)
def test_thin_shapes(shape, step, provider):
    sampling = tuple(1.0 if a % 2 else step for a in range(len(shape)))
    sites = np.random.default_rng(5).random(shape) < 0.03
    sites.flat[11] = True
    distances, indices = with_indices(sites, sampling)
    check_nearest(sites, sampling, distances, indices)
    if step == 1.0:
        np.testing.assert_array_equal(indices, oracles.pairs(sites)[1])


@settings(max_examples=60)
@given(data=st.data())
def test_any_shape_and_spacing(data):
    ndim = data.draw(st.integers(1, 5))
    most = {1: 300, 2: 60, 3: 20, 4: 9, 5: 6}[ndim]
    shape = tuple(data.draw(st.integers(1, most)) for _ in range(ndim))
    kind = data.draw(st.sampled_from(["whole", "decimal", "any", "tiny", "huge"]))
    number = {
        "whole": st.integers(1, 9).map(float),
        "decimal": st.integers(1, 400).map(lambda n: n / 100),
        "any": st.floats(0.1, 10),
        "tiny": st.floats(1e-9, 1e-8),
        "huge": st.integers(1, 2**26).map(lambda n: n * 2.0**20),
    }[kind]
    sampling = tuple(data.draw(number) for _ in range(ndim))
    density = data.draw(st.sampled_from([0.0, 0.01, 0.2, 0.9]))
    sites = np.random.default_rng(data.draw(st.integers(0, 9))).random(shape) < density
    sites.flat[data.draw(st.integers(0, sites.size - 1))] = True
    distances, indices = distance_transform_edt(~sites, sampling, return_indices=True)
    assert sites[tuple(indices)].all()
    expected = ndimage.distance_transform_edt(~sites, sampling)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_allclose(reached(indices, sampling), expected, rtol=1e-12)
    if kind == "whole":
        theirs = ndimage.distance_transform_edt(
            ~sites, sampling, return_distances=False, return_indices=True
        )
        np.testing.assert_array_equal(indices, theirs)


def test_threads_change_nothing(provider):
    sites = np.random.default_rng(8).random((130, 90, 40)) < 1e-3
    if provider == "reference":
        pytest.skip("the reference is brute force")
    for sampling in ((1, 1, 1), (0.8, 0.46875, 0.46875), (0.7421, 0.5859375, 1.2500001)):
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(with_indices(sites, sampling))
        for distances, indices in found[1:]:
            np.testing.assert_array_equal(distances, found[0][0])
            np.testing.assert_array_equal(indices, found[0][1])


def shortest(call, calls: int = 3) -> float:
    """CPU seconds."""
    found = []
    for _ in range(calls):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def one_zero(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.ones(shape, np.uint8)
    mask.flat[0] = 0
    return mask


@pytest.mark.parametrize("sampling", [(1.0, 1.3), (0.07, 0.1), (1.0, 2.0**0.5)], ids=str)
def test_far_zeros_cost_little_more_at_any_spacing(sampling):
    # A search that tries every row as far as the nearest zero took 30 times as long and more.
    mask = one_zero((700, 700))
    find = partial(distance_transform_edt, mask, return_indices=True)
    assert shortest(partial(find, sampling)) < 8 * shortest(find)


@pytest.mark.parametrize("shape", ["line", "lines", "planes"])
@pytest.mark.parametrize("step", [1.0, 1.0 / 3.0, 0.7421], ids=str)
def test_the_cost_of_a_voxel_hardly_grows_with_the_axis(shape, step):
    # Columns that have nothing in common: the zero of every other one lies at the other end.
    def call(n):
        mask = np.ones({"line": (n * 8,), "lines": (n, 16), "planes": (4, n, 8)}[shape], np.uint8)
        mask[..., 0] = 1
        mask.reshape(-1, mask.shape[-1])[0, ::2] = 0
        mask.reshape(-1, mask.shape[-1])[-1, 1::2] = 0
        sampling = (step,) * (mask.ndim - 1) + (1.0,)
        return partial(distance_transform_edt, mask, sampling, return_indices=True)

    assert shortest(call(16384)) < 16 * 5 * shortest(call(1024))


@pytest.mark.skipif(emulator.available() is not None, reason=str(emulator.available()))
def test_a_search_on_a_gpu_hardly_grows_with_the_axis_either():
    # The emulator runs each thread's search as it stands. Every row tried: 15 times for 4.
    def call(n):
        image = torch.from_numpy(one_zero((n, 4)))
        return partial(edt, image, (2.0**0.5, 1.0), ndim=2, return_indices=True)

    with providers.forced("emulator"):
        assert shortest(call(16384)) < 10 * shortest(call(4096))
