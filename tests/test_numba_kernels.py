"""The kernels of the provider numba, each against its definition."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
from cases import PATTERNS

pytest.importorskip("numba")

from fastdist.providers import numba_kernels as kernels
from fastdist.providers import numba_passes as passes
from fastdist.providers import numba_search as search

DTYPES = [np.float32, np.float64, np.int64]
SIZES = [2, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 129, 151, 600]


def costs_of(n: int, weight: float, dtype) -> np.ndarray:
    reach = -(-n // search.ROWS) * search.ROWS
    return (weight * np.arange(-reach, reach + 1, dtype=np.float64) ** 2).astype(dtype)


def searched(sources: np.ndarray, weight: float, keys: np.ndarray | None = None, slop: int = 0):
    """One tile through `search`; sources [n, LANES], keys the same or None."""
    n, lanes = sources.shape
    assert lanes == search.LANES
    dtype = sources.dtype
    blocks = -(-n // search.ROWS)
    group = max(search.ROWS, int(np.sqrt(blocks)))
    size = blocks * search.ROWS * lanes
    source = np.full(size, search.none_of(dtype), dtype)
    best = np.zeros(size, dtype)
    source[: sources.size] = best[: sources.size] = sources.ravel()
    source_keys = best_keys = None
    if keys is not None:
        source_keys = np.zeros(size, keys.dtype)
        source_keys[: keys.size] = keys.ravel()
        best_keys = source_keys.copy()
    search.search(
        source, source_keys, best, best_keys, dtype.type(slop), costs_of(n, weight, dtype),
        np.empty(blocks * lanes, dtype), np.empty(-(-blocks // group) * lanes, dtype),
        np.empty(lanes, dtype), np.empty(lanes, dtype),
    )  # fmt: skip
    best = best[: sources.size].reshape(sources.shape)
    if keys is None:
        return best
    return best, best_keys[: keys.size].reshape(keys.shape)


def candidates(sources: np.ndarray, weight: float) -> np.ndarray:
    """[targets, sources, lanes]"""
    n = len(sources)
    rows = np.arange(n)
    offsets = (weight * (rows[:, None] - rows) ** 2).astype(sources.dtype)
    return sources[None] + offsets[:, :, None]


def tiles(n: int, dtype):
    """Tiles whose columns differ in everything: empty, one source, noise, slopes, bowls, hills."""
    rng = np.random.default_rng(n)
    none = search.none_of(dtype)
    t = np.arange(n)[:, None]
    lane = np.arange(search.LANES)
    far = rng.integers(0, max(4, n * n // 4), (n, search.LANES))
    yield "nothing", np.full((n, search.LANES), none)
    yield "one source", np.where(t == lane % n, 0, none)
    yield "noise", np.where(rng.random((n, search.LANES)) < 0.5, 0, none)
    yield "heights", far
    yield "few heights", np.where(rng.random((n, search.LANES)) < 4 / n, far, none)
    yield "slope", (t - 3 * lane) ** 2
    yield "bowl", (t - n // 2) ** 2 + lane
    yield (
        "hill",
        (n * n - (t - n // 2) ** 2).repeat(search.LANES, 1),
    )  # all equally near from the centre
    yield "steps", (t // 9) * lane


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("n", SIZES)
def test_a_pass_is_the_minimum_over_all_sources(n, dtype):
    for weight in (1, 9):
        for name, sources in tiles(n, dtype):
            sources = sources.astype(dtype)
            expected = np.minimum(candidates(sources, weight).min(1), sources)
            np.testing.assert_array_equal(searched(sources, weight), expected, name)


@pytest.mark.parametrize("key", [np.int32, np.int64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("n", [2, 8, 33, 65, 129])
def test_of_equally_near_sources_the_smallest_key_wins(n, key):
    rng = np.random.default_rng(n)
    for name, sources in tiles(n, np.float32):
        sources = sources.astype(np.float32)
        keys = rng.permutation(sources.size).reshape(sources.shape).astype(key)
        best, best_keys = searched(sources, 1, keys, slop=1)
        reached = candidates(sources, 1)
        expected = reached.min(1)
        tied = np.where(reached == expected[:, None], keys[None], np.iinfo(key).max)
        np.testing.assert_array_equal(best, expected, name)
        found = expected < search.none_of(np.float32)
        np.testing.assert_array_equal(best_keys[found], tied.min(1)[found], name)


def test_thousands_of_rows():
    rng = np.random.default_rng(0)
    n = 4111
    sources = np.where(rng.random((n, search.LANES)) < 2e-3, rng.integers(0, 10**6, (n, 1)), 2**62)
    expected = np.empty_like(sources)
    rows = np.arange(n)
    for lane in range(search.LANES):
        own = np.flatnonzero(sources[:, lane] < 2**62)
        expected[:, lane] = ((rows[:, None] - own) ** 2 + sources[own, lane]).min(1)
    np.testing.assert_array_equal(searched(sources, 1), expected)


def transformed(sites: np.ndarray, mode: int, border: bool, dtype) -> np.ndarray:
    """Squared distances of one image, computed in this dtype; none is -1."""
    geometry = passes.Geometry.of(sites.shape, np.ones((1, sites.ndim)), border, True, False)
    finish = passes.Finish(kernels.WHOLE, -1, np.zeros((1, 7)))
    out = np.empty((1, sites.size), dtype)
    labels = sites.astype(np.uint8).reshape(1, -1)
    passes.transform(
        labels, 1, 1, labels, mode, border, replace(geometry, dtype=np.dtype(dtype)), 1, finish, out
    )
    return out.reshape(sites.shape).astype(np.int64)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(65,), (33, 70), (19, 33, 34), (5, 1, 4, 9)], ids=str)
def test_every_arithmetic_gives_the_same_integers(shape, pattern):
    sites = PATTERNS[pattern](shape)
    nearest = {
        False: oracles.sweeps_squared(sites),  # to a site, and below to what is none
        True: oracles.sweeps_squared(~sites),
    }
    expected = {
        kernels.ONE: nearest[False],
        kernels.TWO: np.where(sites, nearest[True], nearest[False]),
        kernels.MULTI: np.where(sites, nearest[True], nearest[False]),
    }
    for mode, squared in expected.items():
        squared = np.where(squared == oracles.NO_SITE, -1, squared)
        for dtype in DTYPES:
            np.testing.assert_array_equal(transformed(sites, mode, False, dtype), squared)


@pytest.mark.parametrize("pattern", ["none", "all", "centre", "blobs", "noise 3 %"])
@pytest.mark.parametrize("shape", [(65,), (33, 40), (9, 17, 34), (1, 40), (40, 1)], ids=str)
def test_whom_the_border_concerns(shape, pattern):
    sites = PATTERNS[pattern](shape)
    to_site = oracles.sweeps_squared(sites, border=True)
    to_other = oracles.sweeps_squared(~sites, border=True)
    far = oracles.sweeps_squared(sites)
    far = np.where(far == oracles.NO_SITE, -1, far)
    found = {m: transformed(sites, m, True, np.float32) for m in (0, 1, 2)}
    np.testing.assert_array_equal(found[kernels.ONE], to_site)
    np.testing.assert_array_equal(found[kernels.TWO], np.where(sites, to_other, far))
    np.testing.assert_array_equal(found[kernels.MULTI], np.where(sites, to_other, to_site))
