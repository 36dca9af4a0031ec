"""The oracles against each other, against SciPy and against cases worked out by hand."""

import numpy as np
import oracles
import pytest
from cases import FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, SMALL, SMALL_SHAPES, TIE_SHAPES
from scipy import ndimage


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_sweeps_equal_pairs_and_scipy(case):
    for sampling in INTEGER_SAMPLINGS[len(case.shape)]:
        squared, indices = oracles.pairs(case.sites, sampling)
        np.testing.assert_array_equal(oracles.sweeps_squared(case.sites, sampling), squared)
        if case.sites.any():
            distances, theirs = ndimage.distance_transform_edt(
                case.mask, sampling, return_indices=True
            )
            np.testing.assert_array_equal(np.rint(distances**2).astype(np.int64), squared)
            np.testing.assert_array_equal(theirs, indices)
        else:
            assert (squared == oracles.NO_SITE).all()
            assert (indices == -1).all()


@pytest.mark.parametrize("shape", SMALL_SHAPES, ids=str)
def test_float_sampling_agrees_with_scipy(shape):
    sites = np.random.default_rng(1).random(shape) < 0.2
    sites[(0,) * sites.ndim] = True
    for sampling in FLOAT_SAMPLINGS[len(shape)]:
        expected = ndimage.distance_transform_edt(~sites, sampling)
        np.testing.assert_allclose(oracles.distance_to(sites, sampling), expected, rtol=1e-13)
        np.testing.assert_allclose(
            oracles.root(oracles.pairs(sites, sampling)[0]), expected, rtol=1e-13
        )


@pytest.mark.parametrize("shape", TIE_SHAPES, ids=str)
def test_tie_rule_is_scipys(shape):
    rng = np.random.default_rng(2)
    for sampling in INTEGER_SAMPLINGS[len(shape)]:
        for density in (0.02, 0.1, 0.3):
            sites = rng.random(shape) < density
            if sites.any():
                theirs = ndimage.distance_transform_edt(
                    ~sites, sampling, return_distances=False, return_indices=True
                )
                np.testing.assert_array_equal(oracles.pairs(sites, sampling)[1], theirs)


def test_border_is_one_more_layer_of_sites():
    sites = np.zeros((5, 7), bool)
    sites[2, 3] = True
    expected = [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 4, 2, 1, 2, 4, 1],
        [1, 4, 1, 0, 1, 4, 1],
        [1, 4, 2, 1, 2, 4, 1],
        [1, 1, 1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(oracles.sweeps_squared(sites, border=True), expected)


def test_few_sites_is_pairs():
    sites = np.zeros((9, 8), bool)
    sites[0, 0] = sites[5, 7] = True
    np.testing.assert_array_equal(
        oracles.few_sites_squared(sites.shape, np.argwhere(sites)), oracles.pairs(sites)[0]
    )


def test_signed_map_by_hand():
    fg = np.array([0, 0, 1, 1, 1, 1, 1, 0], bool)
    by_zero = {
        "shifted": [2, 1, 0, -1, -2, -1, 0, 1],
        "unit": [2, 1, 0, -1, -2, -1, 0, 1],
        "inner": [2, 1, 0, -1, -2, -1, 0, 1],
        "midpoint": [1.5, 0.5, -0.5, -1.5, -2.5, -1.5, -0.5, 0.5],
        "none": [2, 1, -1, -2, -3, -2, -1, 1],
    }
    for zero, expected in by_zero.items():
        np.testing.assert_array_equal(oracles.signed_map(fg, zero=zero), expected)
    three = {
        "shifted": [6, 3, 0, -3, -6, -3, 0, 3],
        "unit": [6, 3, -2, -5, -8, -5, -2, 3],
        "inner": [6, 3, 0, -3, -6, -3, 0, 3],
        "midpoint": [4.5, 1.5, -1.5, -4.5, -7.5, -4.5, -1.5, 1.5],
        "none": [6, 3, -3, -6, -9, -6, -3, 3],
    }
    for zero, expected in three.items():
        np.testing.assert_array_equal(oracles.signed_map(fg, sampling=3, zero=zero), expected)
    bg = np.array([1, 0, 0, 0, 0, 0, 0, 1], bool)  # the known background; 1 is ignored
    np.testing.assert_array_equal(oracles.signed_map(fg, bg), [2, 0, -1, -2, -2, -1, 0, 1])
    np.testing.assert_array_equal(
        oracles.signed_map(fg, bg, zero="inner"), [2, 0, -4, -3, -2, -1, 0, 1]
    )
    np.testing.assert_array_equal(
        oracles.signed_map(fg, clip=1.5, normalize="max"),
        [1, 1 / 1.5, 0, -1 / 1.5, -1, -1 / 1.5, 0, 1 / 1.5],
    )


def test_constants_of_absent_and_filling_classes():
    none, everything = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    assert (oracles.signed_map(none, empty=7.0, clip=1.0, normalize="max") == 7).all()
    assert (oracles.signed_map(none, empty="diagonal") == 5).all()
    assert (oracles.signed_map(everything, full=None, sampling=(2, 2)) == -10).all()
    assert (oracles.signed_map(none, none, empty=7.0) == 0).all()  # nothing is known
    with_border = oracles.signed_map(everything, border=True, full=9.0)
    np.testing.assert_array_equal(with_border, [[0, 0, 0, 0], [0, -1, -1, 0], [0, 0, 0, 0]])
