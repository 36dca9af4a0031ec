"""docs/arrays.md, arrays of other libraries: read in place, or told what to pass instead.

Each library that is not in the extra "test" has a stand-in here with what fastdist looks at, so
that the rule is tested where it is not installed; where it is, the stand-in is held against it.
"""

import numpy as np
import pytest
import SimpleITK
import torch
from strange_values import Image, Lazy, Nifti, Tracer

from fastdist import (
    check_labels,
    distance_transform_edt,
    edt,
    edt_labels,
    signed_distance,
    signed_distance_maps,
)
from fastdist.losses import BoundaryLoss

IMAGE = (np.arange(42).reshape(6, 7) % 5).astype(np.uint8)
DISTANCES = distance_transform_edt(IMAGE)
LOGITS = torch.zeros(1, 2, 6, 7)

#: Every function that takes an image, and what it calls it.
FUNCTIONS = {
    "distance_transform_edt": (distance_transform_edt, "input"),
    "edt": (lambda image: edt(image, ndim=2), "mask"),
    "edt_labels": (lambda image: edt_labels(image, ndim=2), "labels"),
    "signed_distance": (lambda image: signed_distance(image, ndim=2), "mask"),
    "signed_distance_maps": (lambda image: signed_distance_maps(image, 5), "labels"),
    "check_labels": (lambda image: check_labels(image, 5), "labels"),
    "BoundaryLoss, input": (lambda image: BoundaryLoss()(image, torch.zeros(1, 6, 7)), "input"),
    "BoundaryLoss, target": (lambda image: BoundaryLoss()(LOGITS, image), "target"),
    "BoundaryLoss, mask": (
        lambda image: BoundaryLoss()(LOGITS, torch.zeros(1, 6, 7), mask=image),
        "mask",
    ),
}
functions = pytest.mark.parametrize(("function", "name"), FUNCTIONS.values(), ids=FUNCTIONS.keys())


def refused(function, name, image, advice):
    """A TypeError that names the argument, what came and what to pass instead."""
    with pytest.raises(TypeError) as raised:
        function(image)
    text = str(raised.value)
    assert text.startswith(f"{name}: got ")
    assert type(image).__name__ in text
    assert advice.format(name=name) in text


def dask():
    return pytest.importorskip("dask.array").from_array(IMAGE)


def chunked():
    pytest.importorskip("dask.array")
    return pytest.importorskip("xarray").DataArray(IMAGE).chunk()


def nifti():
    return pytest.importorskip("nibabel").Nifti1Image(IMAGE, np.eye(4))


REFUSED = {
    "dask's stand-in": (Lazy, "{name}.compute()"),
    "dask": (dask, "{name}.compute()"),
    "xarray on dask": (chunked, "{name}.compute()"),
    "SimpleITK's stand-in": (Image, "SimpleITK.GetArrayViewFromImage({name})"),
    "SimpleITK": (
        lambda: SimpleITK.GetImageFromArray(IMAGE),
        "SimpleITK.GetArrayViewFromImage({name}); its spacing in array order: "
        "{name}.GetSpacing()[::-1]",
    ),
    "nibabel's stand-in": (Nifti, "numpy.asanyarray({name}.dataobj)"),
    "nibabel": (nifti, "numpy.asanyarray({name}.dataobj); its spacing: {name}.header.get_zooms()"),
    "masked": (lambda: np.ma.masked_array(IMAGE, IMAGE > 3), "{name}.filled(0)"),
    "masked nowhere": (lambda: np.ma.masked_array(IMAGE), "{name}.filled(0)"),
}


@functions
@pytest.mark.parametrize(("make", "advice"), REFUSED.values(), ids=REFUSED.keys())
def test_what_holds_an_image_is_told_what_to_pass(make, advice, function, name):
    refused(function, name, make(), advice)


def test_what_is_told_works():
    image = SimpleITK.GetImageFromArray(IMAGE)
    image.SetSpacing((3.0, 0.5))  # x, y
    array = SimpleITK.GetArrayViewFromImage(image)
    expected = distance_transform_edt(IMAGE, (0.5, 3.0))
    np.testing.assert_array_equal(
        distance_transform_edt(array, image.GetSpacing()[::-1]), expected
    )
    masked = np.ma.masked_array(IMAGE, IMAGE > 3)
    expected = distance_transform_edt(np.where(IMAGE > 3, 0, IMAGE))
    np.testing.assert_array_equal(distance_transform_edt(masked.filled(0)), expected)


def test_what_nibabel_is_told_works(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(IMAGE, np.diag([2.0, 0.5, 1.0, 1.0])), tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    distances = distance_transform_edt(np.asanyarray(image.dataobj), image.header.get_zooms()[:3])
    np.testing.assert_array_equal(distances, distance_transform_edt(IMAGE, (2.0, 0.5)))


def test_outputs_with_a_mask_are_refused():
    room = np.ma.masked_array(np.full(IMAGE.shape, 7.0), IMAGE > 3)
    with pytest.raises(TypeError, match=r"^distances: got numpy\.MaskedArray"):
        distance_transform_edt(IMAGE, distances=room)
    assert (room.data == 7).all()


# ------------------------------------------------------------------ what NumPy makes an array of


class Labelled:
    """An array with names of its axes and no DLPack, as xarray's DataArray."""

    def __init__(self, array):
        self.array, self.dims = array, ("y", "x")

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __dask_graph__(self):
        return None  # in memory


def labelled():
    coordinates = {"y": np.arange(6) * 0.5}
    return pytest.importorskip("xarray").DataArray(IMAGE, dims=("y", "x"), coords=coordinates)


@pytest.mark.parametrize("make", [lambda: Labelled(IMAGE), labelled], ids=["stand-in", "xarray"])
def test_an_array_with_names_gives_an_array_of_numpy(make):
    distances, indices = distance_transform_edt(make(), return_indices=True)
    assert type(distances) is np.ndarray
    assert type(indices) is np.ndarray
    np.testing.assert_array_equal(distances, DISTANCES)


@pytest.mark.parametrize("dtype", [np.ulonglong, np.longlong, np.longdouble, ">f8", "<u2"], ids=str)
def test_every_name_of_a_dtype_is_known(dtype):
    np.testing.assert_array_equal(distance_transform_edt(IMAGE.astype(dtype)), DISTANCES)


@pytest.mark.parametrize(
    "array",
    [np.full(3, None), np.array(["a"]), np.zeros(3, "m8[s]"), [[1], [1, 2]], None, "abc", {1: 2}],
    ids=str,
)
def test_what_is_no_array_of_numbers_is_refused(array):
    with pytest.raises(TypeError, match=r"^input: got "):
        distance_transform_edt(array)


# ------------------------------------------------------------------ JAX


def test_a_tracer_is_refused():
    with pytest.raises(TypeError, match=r"^input: got a tracer.*outside, or by jax\.pure_callback"):
        distance_transform_edt(Tracer())


class TestJax:
    """The dtypes that come back, and what happens inside of a transformation."""

    def test_distances_are_as_wide_as_jax_lets_them_be(self):
        jax = pytest.importorskip("jax")
        image = jax.numpy.asarray(IMAGE)
        for wide, dtype in ((False, "float32"), (True, "float64")):
            jax.config.update("jax_enable_x64", wide)
            distances, indices = distance_transform_edt(image, return_indices=True)
            jax.config.update("jax_enable_x64", False)
            assert isinstance(distances, jax.Array)
            assert (str(distances.dtype), str(indices.dtype)) == (dtype, "int32")
            np.testing.assert_array_equal(np.asarray(distances), DISTANCES.astype(dtype))

    @pytest.mark.parametrize("transformation", ["jit", "vmap", "grad"])
    def test_inside_of_a_transformation_the_error_is_ours(self, transformation):
        jax = pytest.importorskip("jax")
        function = getattr(jax, transformation)(lambda x: distance_transform_edt(x).sum())
        with pytest.raises(TypeError, match=r"^input: got a tracer"):
            function(jax.numpy.asarray(IMAGE, dtype="float32"))

    def test_pure_callback_is_the_way_out(self):
        jax = pytest.importorskip("jax")

        @jax.jit
        def function(image):
            like = jax.ShapeDtypeStruct(image.shape, "float32")
            return jax.pure_callback(
                lambda array: distance_transform_edt(np.asarray(array)).astype("float32"),
                like, image,
            )  # fmt: skip

        distances = function(jax.numpy.asarray(IMAGE))
        np.testing.assert_array_equal(np.asarray(distances), DISTANCES.astype("float32"))

    def test_arrays_never_change(self):
        jax = pytest.importorskip("jax")
        image = jax.numpy.asarray(IMAGE)
        with pytest.raises(TypeError, match=r"^distances: .*never change"):
            distance_transform_edt(image, distances=jax.numpy.zeros(IMAGE.shape))
