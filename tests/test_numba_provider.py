"""The provider numba beyond the common suite: arithmetic, threads, what is compiled and when."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from cases import _blobs
from scipy import ndimage

pytest.importorskip("numba")

from fastdist import distance_transform_edt, edt, edt_labels, providers, signed_distance
from fastdist.providers import numba_kernels as kernels
from fastdist.providers import numba_passes as passes
from fastdist.providers import numba_search as search

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _numba():
    with providers.forced("numba"):
        yield


def python(script: str, **variables: str) -> str:
    environment = {
        **os.environ,
        "FASTDIST_PROVIDER": "numba",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def geometry(space, sampling=None, *, items=None, single=True, sites=False, border=False):
    steps = np.array([sampling if sampling is not None else [1.0] * len(space)], np.float64)
    steps = steps if items is None else np.array(items, np.float64)
    return passes.Geometry.of(space, steps, border, single, sites)


# ------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(
    ("space", "dtype"),
    [
        ((4097,), np.float32),
        ((4098,), np.float64),
        ((2896, 2897), np.float32),
        ((4097, 4097), np.float64),
        ((256, 256, 256), np.float32),
        ((46342, 46342), np.float64),
        ((10**8, 2), np.int64),
    ],
    ids=str,
)
def test_the_narrowest_type_that_is_exact(space, dtype):
    found = geometry(space)
    assert found.dtype == dtype
    assert found.whole


@pytest.mark.parametrize(
    ("sampling", "weights", "scale"),
    [
        ((1, 1, 3), (1, 1, 9), 1),
        ((2, 4, 6), (4, 16, 36), 1),
        ((0.5, 1.5, 0.5), (1, 9, 1), 0.5),
        ((0.1, 0.3, 0.2), (1, 9, 4), 0.1),
        ((1e-200, 3e-200, 1e-200), (1, 9, 1), 1e-200),
    ],
    ids=str,
)
def test_spacings_become_whole_where_they_can(sampling, weights, scale):
    found = geometry((20, 21, 22), sampling)
    assert found.whole
    np.testing.assert_array_equal(found.weights, [weights])
    np.testing.assert_array_equal(found.scale, [scale])


def test_any_other_spacing_is_in_units_of_the_smallest():
    for single, dtype in ((True, np.float32), (False, np.float64)):
        found = geometry((20, 21), (0.7, 1.0), single=single)
        assert not found.whole
        assert found.dtype == dtype
        np.testing.assert_allclose(found.weights, [[1, (1 / 0.7) ** 2]], rtol=1e-15)


def test_axes_of_one_voxel_matter_to_the_border_only():
    assert geometry((46342, 1)).space == (1, 46342)
    assert geometry((46342, 1)).kept == [None, 0]
    assert geometry((46342, 1), border=True).kept == [0, 1]
    assert geometry((1, 1)).space == (1, 1)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e25], ids=str)
@pytest.mark.parametrize("ratio", [1.0, 1.3, 1e6], ids=str)
def test_very_small_and_very_large_spacings(scale, ratio):
    fg = _blobs((20, 30))
    sampling = (scale, scale * ratio)
    expected = ndimage.distance_transform_edt(fg, (1, ratio)) * scale
    mask = torch.from_numpy(fg)
    np.testing.assert_allclose(edt(mask, sampling, ndim=2), expected, rtol=1e-6)
    double = edt(mask, sampling, ndim=2, dtype=torch.float64)
    np.testing.assert_allclose(double, expected, rtol=1e-12)
    nearest = signed_distance(mask, sampling, ndim=2)
    assert nearest[mask].max() == 0  # never positive inside, and exactly zero next to the outside


def test_squares_beyond_the_integers_of_float64():
    sites = np.random.default_rng(2).random((300, 40)) < 1e-3
    sampling = (2**22, 3)
    distances = torch.empty(2, 300, 40, dtype=torch.int64)
    masks = torch.from_numpy(np.stack([~sites, np.ones_like(sites)]))
    torch.ops.fastdist.edt_out(masks, 2, sampling, None, True, False, distances)
    expected = oracles.sweeps_squared(sites, sampling)
    assert expected.max() > 2**54
    np.testing.assert_array_equal(distances[0], expected)
    assert (distances[1] == 2**63 - 1).all()


@pytest.mark.parametrize("shape", [(9, 8, 7, 6), (4, 5, 3, 4, 5), (2, 3, 2, 3, 2, 3)], ids=str)
def test_more_than_three_axes(shape):
    rng = np.random.default_rng(1)
    mask = rng.random(shape) < 0.97
    for sampling in (None, rng.uniform(0.5, 2, len(shape))):
        distances = distance_transform_edt(mask, sampling)
        expected = ndimage.distance_transform_edt(mask, sampling)
        np.testing.assert_allclose(distances, expected, rtol=1e-12)
    indices = distance_transform_edt(mask, return_distances=False, return_indices=True)
    expected = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    np.testing.assert_array_equal(indices, expected)


def test_labels_wider_than_a_byte_are_not_cut():
    labels = np.zeros((30, 40), np.int64)
    for first, second in ((1, 257), (7, 7 + 2**32), (-1, 255)):
        labels[:, :20], labels[:, 20:] = first, second
        got = edt_labels(torch.from_numpy(labels), ndim=2)
        assert got[0, 0] == 20
        assert got[0, 19] == got[0, 20] == 1


def test_a_column_of_many_thousand_rows():
    shape = (70_001, 3)
    sites = np.zeros(shape, bool)
    sites[0, 0] = sites[-1, -1] = sites[30_000, 1] = True
    found = [(0, 0), (70_000, 2), (30_000, 1)]
    got = edt(torch.from_numpy(~sites), ndim=2, squared=True)
    np.testing.assert_array_equal(got, oracles.few_sites_squared(shape, found))


# ------------------------------------------------------------------ threads


def test_threads_share_every_unit_exactly_once():
    torch.set_num_threads(3)
    seen, workers = [], set()

    def job(first, last):
        workers.add(threading.get_ident())
        seen.extend(range(first, last))

    for units in (1, 2, 7, 1000):
        seen.clear()
        passes.spread(job, units, 100 * passes.GRAIN)
        assert sorted(seen) == list(range(units))
    assert len(workers) > 1


def test_little_work_stays_in_the_caller():
    torch.set_num_threads(2)
    calls = []
    passes.spread(lambda *units: calls.append((threading.current_thread(), units)), 9, passes.GRAIN)
    assert calls == [(threading.current_thread(), (0, 9))]


def test_one_thread_of_torchs_means_one():
    torch.set_num_threads(1)
    before = threading.active_count()
    seen = []
    passes.spread(lambda *_: seen.append(threading.active_count()), 64, 100 * passes.GRAIN)
    assert max(seen) == before


def test_an_error_in_a_thread_is_the_callers():
    torch.set_num_threads(2)

    def job(first, last):
        if first >= 10:
            raise RuntimeError("here")

    with pytest.raises(RuntimeError, match="here"):
        passes.spread(job, 100, 100 * passes.GRAIN)
    assert not [t for t in threading.enumerate() if not t.daemon and t.name.startswith("Thread-")]


# ------------------------------------------------------------------ what is compiled, and when


def test_importing_fastdist_imports_no_numba():
    script = "import sys, fastdist; print('numba' in sys.modules)"
    assert python(script) == "False"


def test_common_dtypes_share_their_kernels():
    fg = torch.from_numpy(_blobs((12, 13, 14)))
    signed_distance(fg, ndim=3)
    before = len(kernels.columns.signatures), len(kernels.rows.signatures)
    for dtype in (torch.uint8, torch.int64, torch.float16, torch.float32):
        edt(fg.to(dtype), ndim=3)
        edt(fg.to(dtype), (1, 1, 3), ndim=3)
        edt(fg.to(dtype), ndim=2, squared=True)
        edt(fg.to(dtype), ndim=1, dtype=torch.float64)
        signed_distance(fg.to(dtype), (0.3, 0.7, 1.0), ndim=3)
    edt_labels(fg.long() * 7, ndim=3)
    assert (len(kernels.columns.signatures), len(kernels.rows.signatures)) == before


def test_without_a_place_for_the_cache_it_compiles_all_the_same(monkeypatch):
    import numba

    njit = numba.njit

    def refusing(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*arguments, **options)

    monkeypatch.setattr(search.numba, "njit", refusing)
    assert search.compiled(lambda x: x + 1)(41) == 42


@pytest.mark.slow
def test_the_second_process_finds_everything_compiled(tmp_path):
    script = """
import torch, fastdist
mask = torch.ones(9, 9, 9, dtype=torch.uint8)
mask[0] = 0
fastdist.signed_distance(mask, ndim=3)
from fastdist.providers import numba_kernels as k
print(sum(sum(f.stats.cache_misses.values()) for f in (k.rows, k.columns)))
"""
    assert int(python(script, NUMBA_CACHE_DIR=str(tmp_path))) > 0
    assert int(python(script, NUMBA_CACHE_DIR=str(tmp_path))) == 0
