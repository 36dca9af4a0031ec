"""Strides, DLPack and CuPy on the GPU: arrays are read where they are, on their own stream."""

import numpy as np
import pytest
import torch
from cuda_support import DEVICE, REHEARSE, assert_same_bits, keep_busy, needs_cuda
from scipy import ndimage
from test_arrays import IMAGE, VIEWS, Foreign

from fastdist import (
    distance_transform_edt,
    edt,
    edt_labels,
    signed_distance,
    signed_distance_maps,
)

pytestmark = needs_cuda

FUNCTIONS = {
    "edt": lambda t: edt(t, ndim=2),
    "edt, indices": lambda t: edt(t, ndim=2, return_indices=True)[1],
    "edt_labels": lambda t: edt_labels(t, ndim=2),
    "signed_distance": lambda t: signed_distance(t, ndim=2),
    "maps": lambda t: signed_distance_maps(t, 4),
    "maps, channels": lambda t: signed_distance_maps(t[:, None], 1, onehot=True),
    "distance_transform_edt": distance_transform_edt,
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())


@every_function
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32], ids=str)
def test_strides_change_nothing(view, dtype, function):
    plain = torch.from_numpy(IMAGE).to(DEVICE, dtype)
    other = view(plain)
    before = other.clone()
    assert_same_bits(function(other), function(plain))
    assert torch.equal(other, before)


@every_function
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expanded_axes(axis, function):
    one = torch.from_numpy(IMAGE).to(DEVICE).narrow(axis, 0, 1)
    expanded = one.expand(3, 10, 12)
    assert_same_bits(function(expanded), function(expanded.contiguous()))


def test_anything_with_dlpack_stays_on_its_device():
    mask = torch.from_numpy(IMAGE != 0).to(DEVICE, torch.uint8)
    answer = torch.from_dlpack(distance_transform_edt(Foreign(mask)))
    assert answer.device == mask.device
    assert_same_bits(answer, distance_transform_edt(mask))


# ------------------------------------------------------------------ CuPy


class _NumPyInstead:
    """In a rehearsal NumPy stands in for CuPy, so that these tests themselves are run."""

    def __getattr__(self, name):
        return getattr(np, name)

    def asnumpy(self, array):
        return np.asarray(array)


@pytest.fixture
def cupy():
    return _NumPyInstead() if REHEARSE else pytest.importorskip("cupy")


@pytest.fixture
def stream(cupy):
    """A stream of CuPy's that waits for no other one, as CuPy's current stream."""
    if REHEARSE:
        yield None
        return
    with cupy.cuda.Stream(non_blocking=True) as other:
        yield other


def keep_cupy_busy(stream, milliseconds):
    if stream is not None:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
            keep_busy(milliseconds)


def scipys(array, **options):
    return ndimage.distance_transform_edt(array, return_indices=True, **options)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.float16, np.float64])
def test_cupy_arrays_in_cupy_arrays_out_as_scipy_has_it(dtype, cupy):
    for image in (IMAGE[0], IMAGE, IMAGE[0, 0]):
        array = cupy.asarray(image.astype(dtype))
        distances, indices = distance_transform_edt(array, 2, return_indices=True)
        expected, places = scipys(image != 0, sampling=2)
        for mine, theirs in ((distances, expected), (indices, places)):
            assert isinstance(mine, cupy.ndarray)
            assert mine.dtype == theirs.dtype
            assert REHEARSE or mine.device == array.device
        np.testing.assert_allclose(cupy.asnumpy(distances), expected, rtol=1e-12)
        np.testing.assert_array_equal(cupy.asnumpy(indices), places)
        alone = distance_transform_edt(array, 2, return_distances=False, return_indices=True)
        np.testing.assert_array_equal(cupy.asnumpy(alone), places)


def test_cupy_views_are_read_in_place(cupy):
    wide = cupy.asarray(np.repeat(np.repeat(IMAGE, 2, 1), 2, 2))
    for view in (wide[:, ::2, ::2], wide[:, :9].transpose(2, 0, 1)):
        np.testing.assert_allclose(
            cupy.asnumpy(distance_transform_edt(view)), scipys(cupy.asnumpy(view))[0], rtol=1e-12
        )


def test_cupy_outputs_are_written_in_place_whatever_their_strides(cupy):
    array = cupy.asarray(IMAGE)
    expected, places = scipys(IMAGE)
    rooms = [
        (cupy.full(IMAGE.shape, -9.0), cupy.full((3, *IMAGE.shape), -9, dtype=np.int32)),
        (
            cupy.full((3, 10, 24), -9.0)[..., ::2],
            cupy.full((3, 12, 10, 3), -9, dtype=np.int32).transpose(0, 3, 2, 1),
        ),
    ]
    for distances, indices in rooms:
        answer = distance_transform_edt(
            array, return_indices=True, distances=distances, indices=indices
        )
        assert answer is None
        np.testing.assert_allclose(cupy.asnumpy(distances), expected, rtol=1e-12)
        np.testing.assert_array_equal(cupy.asnumpy(indices), places)


def test_wrong_cupy_outputs_are_refused_before_anything_is_written(cupy):
    array = cupy.asarray(IMAGE)
    for wrong in (cupy.full((3, 10), -9.0), cupy.full(IMAGE.shape, -9, dtype=np.float32)):
        with pytest.raises(RuntimeError, match="distances"):
            distance_transform_edt(array, distances=wrong)
        assert (cupy.asnumpy(wrong) == -9).all()
    with pytest.raises(TypeError, match="distances"):
        distance_transform_edt(array, distances=torch.zeros(IMAGE.shape, dtype=torch.float64))


def test_the_input_is_what_cupys_stream_makes_of_it_and_the_result_is_ready_for_it(cupy, stream):
    image, junk = cupy.asarray(IMAGE), cupy.zeros_like(cupy.asarray(IMAGE))
    keep_cupy_busy(stream, 30)
    junk[...] = image  # not before the stream gets there
    kept = distance_transform_edt(junk).copy()
    np.testing.assert_allclose(cupy.asnumpy(kept), scipys(IMAGE)[0], rtol=1e-12)


def test_outputs_that_are_given_are_ready_for_cupys_stream(cupy, stream):
    image, out = cupy.asarray(IMAGE), cupy.full(IMAGE.shape, -9.0)
    strided = cupy.full((3, 10, 24), -9.0)[..., ::2]
    distance_transform_edt(image, distances=out)
    for room in (out, strided):
        room[...] = -9
        keep_busy(30)  # torch's stream is late; CuPy's must not run ahead of the result
        distance_transform_edt(image, distances=room)
        kept = room.copy()
        np.testing.assert_allclose(cupy.asnumpy(kept), scipys(IMAGE)[0], rtol=1e-12)


def test_cupy_does_not_reuse_the_inputs_memory_before_it_is_read(cupy, stream):
    for _ in range(3):
        array = cupy.asarray(IMAGE)
        keep_busy(30)
        answer = distance_transform_edt(array)
        nbytes = array.nbytes
        del array
        junk = [cupy.zeros(nbytes, dtype=np.uint8) for _ in range(4)]  # the pool's first choice
        np.testing.assert_allclose(cupy.asnumpy(answer), scipys(IMAGE)[0], rtol=1e-12)
        del junk
