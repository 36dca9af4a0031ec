"""Random shapes, strides, dtypes, spacings and options: everything the table did not think of."""

import numpy as np
import oracles
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fastdist import (
    distance_transform_edt,
    edt,
    edt_labels,
    signed_distance,
    signed_distance_maps,
)

EXAMPLES = 60
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
    torch.bfloat16, torch.float32, torch.float64,
]  # fmt: skip
SIZES = st.one_of(st.integers(0, 12), st.sampled_from([15, 16, 17, 31, 32, 33, 63, 64, 65, 70]))
STEPS = st.one_of(st.integers(1, 9).map(float), st.floats(0.05, 50.0))


@st.composite
def shapes(draw, ndim: int, most: int = 3000):
    """Sizes of `ndim` axes whose product stays affordable for brute force."""
    sizes = []
    for _ in range(ndim):
        sizes.append(min(draw(SIZES), max(1, most // max(1, int(np.prod(sizes))))))
    return tuple(draw(st.permutations(sizes)))


@st.composite
def images(draw, dtypes=tuple(DTYPES), values: int = 2):
    """(integers [*batch, *S] as NumPy, the same as a tensor of some dtype and strides, ndim)."""
    ndim = draw(st.integers(1, 3))
    batch = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    shape = batch + draw(shapes(ndim, 3000 // max(1, int(np.prod(batch)))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.001, 0.02, 0.2, 0.5, 0.9, 1.0]))
    integers = np.where(rng.random(shape) < density, rng.integers(1, values, shape), 0)
    tensor = torch.from_numpy(integers).to(draw(st.sampled_from(dtypes)))
    order = draw(st.permutations(range(tensor.dim())))
    tensor = tensor.permute(order).contiguous().permute(np.argsort(order).tolist())
    if draw(st.booleans()):
        axis = draw(st.integers(0, tensor.dim() - 1))
        tensor = torch.repeat_interleave(tensor, 2, axis)[
            (slice(None),) * axis + (slice(draw(st.integers(0, 1)), None, 2),)
        ]
    return integers, tensor, ndim


def samplings(ndim: int, items: int | None):
    """None, a number, one per axis, or (with a batch) a tensor of rows: (argument, rows)."""
    one = st.lists(STEPS, min_size=ndim, max_size=ndim)
    kinds = [st.none(), STEPS, one.map(tuple)]
    if items is not None:
        rows = st.lists(one, min_size=items, max_size=items)
        kinds.append(rows.map(lambda r: torch.tensor(r, dtype=torch.float64).reshape(items, ndim)))
    return st.one_of(kinds)


def of_item(sampling, item):
    return sampling[item[0]].numpy() if isinstance(sampling, torch.Tensor) else sampling


def batch_of(array: np.ndarray, ndim: int):
    return np.ndindex(array.shape[: array.ndim - ndim])


def items_of(array: np.ndarray, ndim: int) -> int | None:
    return len(array) if array.ndim > ndim else None


def close(got: torch.Tensor, expected: np.ndarray, sampling=1.0) -> None:
    relative = 1e-12 if got.dtype == torch.float64 else 1e-6
    difference = np.abs(got.numpy() - expected)
    difference[got.numpy() == expected] = 0  # infinities
    assert (difference <= oracles.tolerance(expected, relative, sampling)).all()


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_edt(provider, data):
    integers, mask, ndim = data.draw(images(values=3))
    sampling = data.draw(samplings(ndim, items_of(integers, ndim)))
    border, squared = data.draw(st.booleans()), data.draw(st.booleans())
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    got = edt(mask, sampling, ndim=ndim, border=border, squared=squared, dtype=dtype)
    assert got.dtype == dtype
    assert got.shape == mask.shape
    relative = 1e-12 if dtype == torch.float64 else 1e-6
    for item in batch_of(integers, ndim):
        steps = of_item(sampling, item)
        expected = oracles.sweeps_squared(integers[item] == 0, steps, border)
        expected = oracles.root(expected) ** (2 if squared else 1)
        np.testing.assert_allclose(got[item], expected, rtol=2 * relative, atol=0)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_squared_integers_and_indices(provider, data):
    integers, mask, ndim = data.draw(images())
    squared, indices = edt(mask, ndim=ndim, squared=True, return_indices=True)
    np.testing.assert_array_equal(edt(mask, ndim=ndim, squared=True), squared)
    for item in batch_of(integers, ndim):
        expected, nearest = oracles.pairs(integers[item] == 0)
        expected[expected == oracles.NO_SITE] = torch.iinfo(squared.dtype).max
        np.testing.assert_array_equal(squared[item], expected)
        np.testing.assert_array_equal(indices[(slice(None), *item)], nearest)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_labels(provider, data):
    integers, labels, ndim = data.draw(images(values=data.draw(st.integers(2, 9))))
    if labels.dtype == torch.bool:
        integers = integers != 0
    sampling = data.draw(samplings(ndim, items_of(integers, ndim)))
    border = data.draw(st.booleans())
    got = edt_labels(labels, sampling, ndim=ndim, border=border)
    for item in batch_of(integers, ndim):
        expected = oracles.label_distance(integers[item], of_item(sampling, item), border)
        np.testing.assert_allclose(got[item], expected, rtol=1e-6)


CONVENTIONS = st.fixed_dictionaries(
    {
        "zero": st.sampled_from(["shifted", "unit", "inner", "midpoint", "none"]),
        "normalize": st.sampled_from([None, None, "max", "diagonal"]),
        "clip": st.one_of(st.none(), st.floats(0.1, 20)),
        "empty": st.one_of(st.just("diagonal"), st.floats(-9, 9)),
        "full": st.one_of(st.just("diagonal"), st.floats(-9, 9)),
        "border": st.booleans(),
    }
)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_signed_distance(provider, data):
    integers, mask, ndim = data.draw(images())
    sampling = data.draw(samplings(ndim, items_of(integers, ndim)))
    convention = data.draw(CONVENTIONS)
    got = signed_distance(mask, sampling, ndim=ndim, dtype=torch.float64, **convention)
    for item in batch_of(integers, ndim):
        steps = of_item(sampling, item)
        expected = oracles.signed_map(integers[item] != 0, sampling=steps, **convention)
        # Dividing by the largest magnitude may divide by very little.
        assert np.isfinite(got[item].numpy()).all()
        scale = 1.0 if steps is None else steps
        if convention["normalize"] != "max" or well_conditioned(
            integers[item] != 0, steps, convention
        ):
            close(got[item], expected, scale)


def well_conditioned(fg: np.ndarray, steps, convention) -> bool:
    """Whether the largest inside magnitude is more than what rounding leaves of zero."""
    plain = oracles.signed_map(fg, sampling=steps, **{**convention, "normalize": None})
    inside = np.abs(plain[fg]).max() if fg.any() else 1.0
    return inside == 0 or inside > 0.05


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_signed_distance_maps(provider, data):
    ndim = data.draw(st.integers(1, 3))
    items = data.draw(st.integers(0, 3))
    shape = (items, *data.draw(shapes(ndim, 800)))
    classes = data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, classes, shape)
    ignore_index = data.draw(st.sampled_from([None, 100, 0, classes - 1, -1]))
    if ignore_index is not None:
        labels[rng.random(shape) < data.draw(st.sampled_from([0.0, 0.1, 0.7, 1.0]))] = ignore_index
    signed_only = ignore_index == -1
    dtype = data.draw(st.sampled_from([d for d in DTYPES if d != torch.bool][signed_only:]))
    sampling = data.draw(samplings(ndim, items))
    convention = {
        **data.draw(CONVENTIONS),
        "normalize": data.draw(st.sampled_from([None, "diagonal"])),
    }
    got = signed_distance_maps(
        torch.from_numpy(labels).to(dtype), classes, sampling, ignore_index=ignore_index,
        dtype=torch.float64, **convention,
    )  # fmt: skip
    steps = sampling.numpy() if isinstance(sampling, torch.Tensor) else sampling
    expected = oracles.signed_maps_of_labels(
        labels, classes, steps, ignore_index=ignore_index, **convention
    )
    close(got, expected, 1.0 if steps is None or np.size(steps) == 0 else steps)


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_distance_transform_edt(provider, data):
    ndim = data.draw(st.integers(1, 5))
    shape = data.draw(shapes(ndim, 2000))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < data.draw(st.sampled_from([0.3, 0.9, 0.99]))
    if mask.all() and mask.size:
        mask.flat[-1] = False
    mask = mask.astype(data.draw(st.sampled_from(["?", "u1", "<i4", ">i8", "f4", "f8"])))
    mask = mask.transpose(data.draw(st.permutations(range(ndim))))
    whole = data.draw(st.booleans())
    steps = st.integers(1, 9) if whole else st.floats(0.05, 50)
    sampling = data.draw(st.one_of(st.none(), steps, st.lists(steps, min_size=ndim, max_size=ndim)))
    distances, indices = distance_transform_edt(mask, sampling, return_indices=True)
    expected, nearest = ndimage.distance_transform_edt(mask, sampling, return_indices=True)
    np.testing.assert_allclose(distances, expected, rtol=1e-12, atol=0)
    if whole or sampling is None:
        np.testing.assert_array_equal(indices, nearest)
