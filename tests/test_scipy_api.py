"""distance_transform_edt: SciPy's contract, argument by argument, decided by SciPy itself."""

import inspect

import numpy as np
import oracles
import pytest
import torch
from cases import ALL, FLOAT_SAMPLINGS, INTEGER_SAMPLINGS, SMALL
from conftest import affordable
from scipy import ndimage

from fastdist import distance_transform_edt

SHAPES_4D = [(3, 4, 5, 6), (1, 7, 1, 9), (2, 2, 17, 3), (2, 3, 1, 2, 5)]


def both(*arguments, **options):
    return (
        distance_transform_edt(*arguments, **options),
        ndimage.distance_transform_edt(*arguments, **options),
    )


def assert_same(ours, theirs) -> None:
    """Same kind, shape, dtype and values: exact at integer sampling, else to 1e-12."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for mine, yours in zip(ours, theirs, strict=True):
            assert_same(mine, yours)
        return
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0)
    else:
        np.testing.assert_array_equal(ours, theirs)


def noise(shape, density=0.2, seed=0) -> np.ndarray:
    """A mask with at least one zero."""
    mask = np.random.default_rng(seed).random(shape) > density
    mask[(0,) * mask.ndim] = False
    return mask


def test_the_signature_is_scipys():
    ours = inspect.signature(distance_transform_edt).parameters
    theirs = inspect.signature(ndimage.distance_transform_edt).parameters
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]


@pytest.mark.parametrize("case", [case for case in ALL if case.sites.any()], ids=str)
def test_distances_and_indices_are_scipys(case, provider):
    affordable(provider, case.sites.size, case.sites.sum())
    assert_same(*both(case.mask, return_indices=True))


@pytest.mark.parametrize("shape", SHAPES_4D, ids=str)
def test_more_than_three_dimensions(shape, provider):
    for seed, density in enumerate((0.02, 0.3)):
        mask = noise(shape, density, seed)
        assert_same(*both(mask, return_indices=True))
        assert_same(*both(mask, sampling=tuple(range(1, len(shape) + 1)), return_indices=True))
        assert_same(*both(mask, sampling=np.linspace(0.5, 1.7, len(shape))))


@pytest.mark.parametrize("case", [case for case in SMALL if case.sites.any()], ids=str)
def test_sampling(case, provider):
    affordable(provider, case.sites.size, case.sites.sum())
    for sampling in INTEGER_SAMPLINGS[len(case.shape)]:
        assert_same(*both(case.mask, sampling, return_indices=True))
        assert_same(*both(case.mask, sampling=[float(h) for h in sampling], return_indices=True))
    for sampling in FLOAT_SAMPLINGS[len(case.shape)]:
        assert_same(*both(case.mask, sampling=sampling))


@pytest.mark.parametrize(
    "sampling", [3, 0.5, np.float32(2), [1.5, 2.5], np.array([2, 1])], ids=repr
)
def test_kinds_of_sampling(sampling, provider):
    assert_same(*both(noise((11, 12)), sampling=sampling))


@pytest.mark.parametrize("dtype", ["?", "b", "B", "h", "i", "l", "L", "f", "d", "e"])
def test_any_nonzero_of_any_dtype_is_foreground(dtype, provider):
    image = (noise((13, 14)) * np.random.default_rng(1).integers(1, 3, (13, 14))).astype(dtype)
    assert_same(*both(image, return_indices=True))


def test_special_floats_are_foreground(provider):
    image = np.ones((6, 7))
    image[0, 0], image[1, 1] = 0.0, -0.0
    image[2, 2:5] = np.nan, np.inf, -np.inf
    image[4, 4] = 5e-324
    assert_same(*both(image))


def test_lists_are_arrays(provider):
    assert_same(*both([[1, 1, 0], [1, 1, 1]], return_indices=True))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a[:, ::-2],
        lambda a: a[1:-1, 2:],
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a[:, None, :], (a.shape[0], 3, a.shape[1])),
        lambda a: a.astype(">i4"),
    ],
    ids=["transposed", "flipped", "negative steps", "sliced", "fortran", "broadcast", "big endian"],
)
def test_any_strides(view, provider):
    image = view(noise((15, 16)))
    before = image.copy()
    assert_same(*both(image, return_indices=True))
    np.testing.assert_array_equal(image, before)


def test_read_only_input(provider):
    mask = noise((8, 9))
    mask.flags.writeable = False
    assert_same(*both(mask))


@pytest.mark.parametrize("distances", [False, True])
@pytest.mark.parametrize("indices", [False, True])
def test_what_is_asked_for_is_returned(distances, indices, provider):
    if distances or indices:
        assert_same(*both(noise((9, 10)), return_distances=distances, return_indices=indices))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)], ids=str)
def test_nothing_in_nothing_out(shape, provider):
    assert_same(*both(np.ones(shape), return_indices=True))


def test_the_whole_array_is_one_image(provider):
    mask = np.ones((2, 5, 6), bool)
    mask[0, 2, 2] = False
    assert_same(*both(mask))


@pytest.mark.parametrize("value", [0, 1, 0.0, 2.5])
def test_a_scalar_is_an_image_of_no_dimensions(value, provider):
    try:
        expected = ndimage.distance_transform_edt(value)
    except Exception as error:
        with pytest.raises(type(error)):
            distance_transform_edt(value)
    else:
        ours = np.asarray(distance_transform_edt(value))
        assert ours.shape == np.shape(expected)
        if value == 0:
            assert ours == expected


def test_without_background_the_distance_is_infinite_and_the_index_minus_one(provider):
    # The one documented difference: SciPy answers as if there were a zero at (-1, 0).
    for shape in [(4,), (4, 5), (2, 3, 4), (2, 2, 2, 2)]:
        distances, indices = distance_transform_edt(np.ones(shape), return_indices=True)
        assert distances.shape == shape
        assert distances.dtype == np.float64
        assert np.isposinf(distances).all()
        assert indices.dtype == np.int32
        assert (indices == -1).all()


# ------------------------------------------------------------------ in-place outputs


def outputs(shape):
    return np.full(shape, 7.0), np.full((len(shape), *shape), 7, np.int32)


@pytest.mark.parametrize("shape", [(11,), (9, 10), (4, 5, 6), (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("use", ["distances", "indices", "both"])
@pytest.mark.parametrize("return_distances", [False, True])
@pytest.mark.parametrize("return_indices", [False, True])
def test_in_place_outputs(shape, use, return_distances, return_indices, provider):
    if not (return_distances or return_indices):
        return
    mask = noise(shape)
    answers = []
    for function in (distance_transform_edt, ndimage.distance_transform_edt):
        distances, indices = outputs(shape)
        options = {"distances": distances, "indices": indices}
        if use != "both":
            del options["indices" if use == "distances" else "distances"]
        try:
            result = function(
                mask, return_distances=return_distances, return_indices=return_indices, **options
            )
        except Exception as error:
            result = error
        answers.append((result, distances, indices))
    (ours, our_distances, our_indices), (theirs, their_distances, their_indices) = answers
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), ours
        assert (our_distances == 7).all()
        assert (our_indices == 7).all()
        return
    assert_same(our_distances, their_distances)
    assert_same(our_indices, their_indices)
    if theirs is None:
        assert ours is None
    else:
        assert_same(ours, theirs)


def test_outputs_may_be_views_of_larger_arrays(provider):
    # MONAI passes slices of a batch.
    mask = noise((7, 8))
    room, where = np.full((3, 7, 8), -5.0), np.full((3, 2, 7, 8), -5, np.int32)
    answer = distance_transform_edt(mask, return_indices=True, distances=room[1], indices=where[1])
    assert answer is None
    expected = ndimage.distance_transform_edt(mask, return_indices=True)
    assert_same(room[1], expected[0])
    assert_same(where[1], expected[1])
    assert (room[[0, 2]] == -5).all()
    assert (where[[0, 2]] == -5).all()


@pytest.mark.parametrize("layout", ["fortran", "steps", "negative"])
def test_outputs_of_any_strides(layout, provider):
    mask = noise((7, 8))
    room, where = {
        "fortran": lambda: (np.empty((7, 8), order="F"), np.empty((2, 7, 8), np.int32, order="F")),
        "steps": lambda: (np.empty((7, 16))[:, ::2], np.empty((2, 14, 8), np.int32)[:, ::2]),
        "negative": lambda: (np.empty((7, 8))[::-1], np.empty((2, 7, 8), np.int32)[:, ::-1]),
    }[layout]()
    distance_transform_edt(mask, return_indices=True, distances=room, indices=where)
    distances, indices = ndimage.distance_transform_edt(mask, return_indices=True)
    np.testing.assert_array_equal(room, distances)
    np.testing.assert_array_equal(where, indices)


# ------------------------------------------------------------------ errors of the same kinds

MASK = noise((6, 7))
WRONG = {
    "both flags off": {"return_distances": False},
    "sampling too long": {"sampling": (1, 2, 3)},
    "sampling too short": {"sampling": (1,) * 1 + ()},
    "sampling of two axes": {"sampling": [[1, 2]]},
    "sampling a word": {"sampling": "wide"},
    "distances of another shape": {"distances": np.full((6, 8), 7.0)},
    "distances of another rank": {"distances": np.full((6, 7, 1), 7.0)},
    "distances of float32": {"distances": np.full((6, 7), 7, np.float32)},
    "distances of int64": {"distances": np.full((6, 7), 7, np.int64)},
    "distances not asked for": {
        "distances": np.full((6, 7), 7.0), "return_distances": False, "return_indices": True
    },
    "indices of another shape": {
        "indices": np.full((2, 6, 8), 7, np.int32), "return_indices": True
    },
    "indices without an axis": {"indices": np.full((6, 7), 7, np.int32), "return_indices": True},
    "indices of int64": {"indices": np.full((2, 6, 7), 7, np.int64), "return_indices": True},
    "indices of float64": {"indices": np.full((2, 6, 7), 7.0), "return_indices": True},
    "indices not asked for": {"indices": np.full((2, 6, 7), 7, np.int32)},
}  # fmt: skip


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG.keys())
def test_mistakes_raise_what_scipy_raises(options, provider):
    try:
        ndimage.distance_transform_edt(MASK, **options)
    except Exception as error:
        kind = type(error)
    else:
        pytest.skip("SciPy accepts this")
    arrays = [v for v in options.values() if isinstance(v, np.ndarray)]
    for array in arrays:
        array[...] = 7
    with pytest.raises(kind) as raised:
        distance_transform_edt(MASK, **options)
    name = next((n for n in ("sampling", "distances", "indices") if n in options), "return_")
    assert name in str(raised.value)
    for array in arrays:
        assert (array == 7).all()  # nothing written


@pytest.mark.parametrize("sampling", [0, -1, (1, 0), (1, -2), (np.nan, 1), (np.inf, 1)], ids=str)
def test_a_sampling_that_is_no_length_is_refused(sampling, provider):
    # SciPy computes something here; a length of zero, less or none is a mistake.
    room = np.full(MASK.shape, 7.0)
    with pytest.raises(ValueError, match="sampling"):
        distance_transform_edt(MASK, sampling=sampling, distances=room)
    assert (room == 7).all()


def test_objects_and_words_are_refused(provider):
    for wrong in ("word", None, {"a": 1}, object()):
        with pytest.raises((TypeError, ValueError, RuntimeError), match="input"):
            distance_transform_edt(wrong)


# ------------------------------------------------------------------ torch tensors


@pytest.mark.parametrize("shape", [(12,), (9, 10), (4, 5, 6), (2, 3, 4, 5)], ids=str)
def test_tensors_come_back_as_tensors(shape, provider):
    mask = noise(shape)
    distances, indices = distance_transform_edt(torch.from_numpy(mask), return_indices=True)
    expected = oracles.pairs(~mask)
    assert isinstance(distances, torch.Tensor)
    assert isinstance(indices, torch.Tensor)
    assert indices.dtype == torch.int32
    assert distances.is_floating_point()
    rtol = 1e-12 if distances.dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(distances, oracles.root(expected[0]), rtol=rtol)
    np.testing.assert_array_equal(indices, expected[1])


def test_tensors_as_in_place_outputs(provider):
    mask = torch.from_numpy(noise((9, 10)))
    like = distance_transform_edt(mask)
    room = torch.full_like(like, 7.0)
    assert distance_transform_edt(mask, distances=room) is None
    np.testing.assert_array_equal(room, like)
