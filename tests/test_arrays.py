"""Arrays in and out: any strides, any dtype, any library with DLPack, and given outputs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch

from fastdist import (
    distance_transform_edt,
    edt,
    edt_labels,
    signed_distance,
    signed_distance_maps,
)

RNG = np.random.default_rng(16)
IMAGE = (RNG.random((3, 10, 12)) < 0.15).astype(np.int64) * RNG.integers(1, 4, (3, 10, 12))

# Views of a [3, 10, 12] tensor that have other strides, or a storage of their own.
VIEWS = {
    "contiguous": lambda t: t,
    "space transposed": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
    "batch last": lambda t: t.movedim(0, -1).contiguous().movedim(-1, 0),
    "every second column": lambda t: torch.repeat_interleave(t, 2, 2)[..., ::2],
    "every second row": lambda t: torch.repeat_interleave(t, 2, 1)[:, ::2],
    "inside a larger image": lambda t: torch.nn.functional.pad(t, (3, 2, 1, 4))[:, 1:-4, 3:-2],
    "at an odd offset": lambda t: torch.cat([t.new_ones(1), t.flatten()])[1:].view(t.shape),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32], ids=str)
def test_strides_change_nothing(view, dtype, provider):
    plain = torch.from_numpy(IMAGE).to(dtype)
    other = view(plain)
    assert torch.equal(plain, other)
    before = other.clone()
    functions = [
        lambda t: edt(t, ndim=2),
        lambda t: edt(t, ndim=2, return_indices=True)[1],
        lambda t: edt_labels(t, ndim=2),
        lambda t: signed_distance(t, ndim=2),
        lambda t: signed_distance_maps(t, 4),
        lambda t: signed_distance_maps(t[:, None], 1, onehot=True),
    ]
    for function in functions:
        np.testing.assert_array_equal(function(other), function(plain))
    assert torch.equal(other, before)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expanded_axes(axis, provider):
    shape = [3, 10, 12]
    one = torch.from_numpy(IMAGE).narrow(axis, 0, 1)
    expanded = one.expand(shape)
    assert expanded.stride(axis) == 0
    copied = expanded.contiguous()
    np.testing.assert_array_equal(edt(expanded, ndim=2), edt(copied, ndim=2))
    np.testing.assert_array_equal(edt_labels(expanded, ndim=3), edt_labels(copied, ndim=3))
    np.testing.assert_array_equal(
        signed_distance_maps(expanded, 4), signed_distance_maps(copied, 4)
    )


@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
     torch.bfloat16, torch.float32, torch.float64, torch.uint16, torch.uint32, torch.uint64],
    ids=str,
)  # fmt: skip
def test_every_dtype_of_mask(dtype, provider):
    mask = torch.from_numpy(IMAGE).to(dtype)
    for image in range(3):
        sites = IMAGE[image] == 0
        np.testing.assert_array_equal(
            edt(mask, ndim=2, squared=True)[image], oracles.sweeps_squared(sites)
        )
    expected = np.stack([oracles.signed_map(image != 0) for image in IMAGE])
    np.testing.assert_allclose(signed_distance(mask, ndim=2), expected, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_nan_infinity_and_the_smallest_number_are_foreground(dtype, provider):
    mask = torch.ones(5, 9, dtype=dtype)
    mask[2, 1:6] = torch.tensor([float("nan"), float("inf"), float("-inf"), 0.0, -0.0])
    mask[4, 4] = torch.finfo(dtype).smallest_normal
    mask[4, 5] = -torch.finfo(dtype).smallest_normal
    sites = np.zeros((5, 9), bool)
    sites[2, 4:6] = True
    np.testing.assert_array_equal(edt(mask, ndim=2, squared=True), oracles.sweeps_squared(sites))
    np.testing.assert_array_equal(
        edt(mask, ndim=2, return_indices=True)[1], oracles.pairs(sites)[1]
    )
    expected = oracles.signed_map(~sites)
    np.testing.assert_allclose(signed_distance(mask, ndim=2), expected, atol=1e-6)
    channels = mask[None, None]
    np.testing.assert_allclose(
        signed_distance_maps(channels, 1, onehot=True)[0, 0], expected, atol=1e-6
    )


@pytest.mark.parametrize("value", [256, 2**16, 2**32, 2**40, -(2**63)])
def test_a_nonzero_whose_low_bits_are_zero_is_foreground(value, provider):
    mask = torch.full((4, 6), value)
    mask[1, 1] = 0
    sites = mask.numpy() == 0
    np.testing.assert_array_equal(edt(mask, ndim=2, squared=True), oracles.sweeps_squared(sites))


@pytest.mark.asks_values
@pytest.mark.parametrize("value", [256, 2**32, 2**40 + 1, -(2**63), 0.5, 2.0**60])
def test_a_label_is_not_mistaken_for_its_low_bits(value, provider):
    # Out of range, and said so, though the value modulo 2^8 or 2^32 would be a class.
    labels = torch.zeros(1, 4, 6, dtype=torch.float64 if isinstance(value, float) else torch.int64)
    labels[0, 1, 1] = value
    with pytest.raises(ValueError, match="labels"):
        signed_distance_maps(labels, 3)


# ------------------------------------------------------------------ DLPack


class Foreign:
    """An array of some other library: nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("make", [np.ascontiguousarray, torch.from_numpy], ids=["numpy", "torch"])
def test_anything_with_dlpack_is_an_array(make, provider):
    mask = (IMAGE[0] != 0).astype(np.uint8)
    answer = distance_transform_edt(Foreign(make(mask)))
    np.testing.assert_array_equal(
        np.asarray(torch.from_dlpack(answer)), oracles.distance_to(mask == 0)
    )


def test_numpy_in_numpy_out_and_tensor_in_tensor_out(provider):
    assert isinstance(distance_transform_edt(IMAGE), np.ndarray)
    assert isinstance(distance_transform_edt(torch.from_numpy(IMAGE)), torch.Tensor)


# ------------------------------------------------------------------ outputs that are given


def test_out_is_written_and_returned(provider):
    mask = torch.from_numpy(IMAGE)
    calls = [
        (lambda **k: edt(mask, ndim=2, **k), torch.float32, mask.shape),
        (lambda **k: edt_labels(mask, ndim=2, **k), torch.float32, mask.shape),
        (lambda **k: signed_distance(mask, ndim=2, **k), torch.float32, mask.shape),
        (lambda **k: signed_distance_maps(mask, 4, **k), torch.float32, (3, 4, 10, 12)),
    ]
    for call, dtype, shape in calls:
        expected = call()
        out = torch.full(shape, -99.0, dtype=dtype)
        returned = call(out=out)
        assert returned is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_out_decides_the_dtype(dtype, provider):
    mask = torch.from_numpy(IMAGE)
    out = torch.full(mask.shape, -99, dtype=dtype)
    edt(mask, ndim=2, dtype=dtype, out=out)
    expected = np.stack([oracles.distance_to(image == 0) for image in IMAGE])
    np.testing.assert_allclose(out, expected, rtol=1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_squared_integers_go_into_a_given_output(dtype, provider):
    mask = torch.from_numpy(IMAGE)
    out = torch.full(mask.shape, -99, dtype=dtype)
    edt(mask, ndim=2, squared=True, out=out)
    np.testing.assert_array_equal(out, np.stack([oracles.sweeps_squared(i == 0) for i in IMAGE]))


def test_both_outputs_of_edt_with_indices(provider):
    mask = torch.from_numpy(IMAGE)
    expected = edt(mask, ndim=2, return_indices=True)
    out = (torch.full(mask.shape, -9.0), torch.full((2, *mask.shape), -9, dtype=torch.int32))
    returned = edt(mask, ndim=2, return_indices=True, out=out)
    assert returned[0] is out[0]
    assert returned[1] is out[1]
    for mine, theirs in zip(out, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_output_inside_a_larger_tensor_leaves_the_rest(provider):
    mask = torch.from_numpy(IMAGE)
    room = torch.full((5, 10, 12), -99.0)
    edt(mask, ndim=2, out=room[1:4])
    np.testing.assert_array_equal(room[1:4], edt(mask, ndim=2))
    assert (room[[0, 4]] == -99).all()


def test_input_is_never_written(provider):
    mask = torch.from_numpy(IMAGE.copy())
    version = mask._version
    edt(mask, ndim=2, return_indices=True)
    edt_labels(mask, ndim=2)
    signed_distance(mask, ndim=2)
    signed_distance_maps(mask, 4)
    distance_transform_edt(mask)
    assert mask._version == version
    np.testing.assert_array_equal(mask, IMAGE)


def test_importing_fastdist_imports_no_other_array_library():
    script = (
        "import sys, fastdist; "
        "found = {'cupy', 'jax', 'numba', 'scipy', 'monai', 'cv2', 'edt'} & set(sys.modules); "
        "assert not found, found"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [
        str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
