"""The provider ``numba``: the CPU ops without a compiler, by Numba, compiled when first called.

What the ops mean stands in ``fastdist/ops.py``. Here tensors become contiguous NumPy arrays of few
dtypes (each further one costs seconds of compilation), conventions become parameters of the last
pass, and ``numba_passes`` does the rest. Maps with ignored voxels and the losses are composed in
torch. No torch operator runs on the way to a map otherwise: after a fork its thread pool may hang.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdist.providers import composed, composed_loss
from fastdist.providers.numba_passes import (
    Array,
    Finish,
    Geometry,
    transform,
    transform_with_sites,
)

NAME = "numba"
DISPATCH_KEY = "CPU"


def available() -> str | None:
    """None where Numba is installed, else the reason why this provider is not available."""
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed: pip install numba"
    return None


# --- Tensors as arrays ----------------------------------------------------------------------------


def _array(tensor: Tensor) -> Array:
    """The tensor's memory, or a copy in a wider dtype where NumPy lacks its own."""
    tensor = tensor.detach() if tensor.requires_grad else tensor
    if tensor.dtype == torch.bfloat16:
        bits = tensor.view(torch.int16).numpy().view(np.uint16)
        return (bits.astype(np.uint32) << 16).view(np.float32)
    try:
        return tensor.numpy()
    except TypeError:  # float8 and whatever comes
        return tensor.to(torch.float32).numpy()


def _nonzero(array: Array) -> Array:
    """A byte for each element, 0 where it is zero. NaN is not zero."""
    if array.dtype.itemsize == 1:
        return np.ascontiguousarray(array).view(np.uint8)
    if array.dtype == np.float16:  # slow in software
        array = array.view(np.uint16) & 0x7FFF
    return np.not_equal(array, 0, order="C").view(np.uint8)


def _comparable(array: Array) -> Array:
    """Integers, equal where the elements are equal, in the narrowest of uint8, int32 and int64."""
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array).view(np.uint8)
    if array.dtype.kind == "f":
        array = array.astype(np.float32 if array.dtype.itemsize < 8 else np.float64) + 0.0  # no -0
        return np.ascontiguousarray(array).view(np.int64 if array.dtype.itemsize == 8 else np.int32)
    if array.dtype.itemsize == 1:
        return np.ascontiguousarray(array).view(np.uint8)
    if array.size == 0:
        return np.ascontiguousarray(array, dtype=np.uint8)
    least, most = array.min(), array.max()
    if least >= 0 and most < 256:
        return np.ascontiguousarray(array, dtype=np.uint8)
    if least >= -(2**31) and most < 2**31:
        return np.ascontiguousarray(array, dtype=np.int32)
    return np.ascontiguousarray(array).view(np.int64)


def _flat(array: Array, voxels: int) -> Array:
    return array.reshape(-1, voxels)


def _steps(sampling: Sequence[float], item_sampling: Tensor | None) -> Array:
    """The spacing of each image, float64 [1 or N, ndim]; not finite or not positive: ValueError."""
    if item_sampling is None:
        return np.array([list(sampling)], np.float64)
    steps = _array(item_sampling).astype(np.float64)
    wrong = ~(np.isfinite(steps) & (steps > 0)).all(1)
    if wrong.any():
        item = int(wrong.argmax())
        raise ValueError(
            f"sampling: got {steps[item].tolist()} for item {item}, expected finite values > 0"
        )
    return steps


# --- Transforms -----------------------------------------------------------------------------------


def _unsigned(geometry: Geometry, squared: bool, dtype: np.dtype[Any]) -> Finish:
    """What an unsigned transform stores in an output of this dtype."""
    from fastdist.providers import numba_kernels as kernels

    real = np.float32 if dtype == geometry.dtype == np.float32 else np.float64
    parameters = np.zeros((len(geometry.scale), 7), real)
    parameters[:, kernels.SCALE] = geometry.scale
    if dtype.kind == "i":
        return Finish(kernels.WHOLE, np.iinfo(dtype).max, parameters)
    return Finish(kernels.SQUARE if squared else kernels.ROOT, math.inf, parameters)


def _edt(
    labels: Array,
    mode: int,
    ndim: int,
    steps: Array,
    squared: bool,
    border: bool,
    distances: Tensor,
) -> None:
    space = tuple(distances.shape[distances.dim() - ndim :])
    voxels = math.prod(space)
    out = _flat(distances.detach().numpy(), voxels)
    labels = _flat(labels, voxels)
    single = out.dtype != np.float64
    geometry = Geometry.of(space, steps, border, single, sites=False)
    finish = _unsigned(geometry, squared, out.dtype)
    items = max(1, len(out) // len(steps))
    transform(labels, 1, 0, labels, mode, border, geometry, items, finish, out)


def edt_out(
    mask: Tensor, ndim: int, sampling: Sequence[float], item_sampling: Tensor | None, squared: bool,
    border: bool, distances: Tensor,
) -> None:  # fmt: skip
    from fastdist.providers.numba_kernels import ONE

    steps = _steps(sampling, item_sampling)
    if distances.numel():
        _edt(_nonzero(_array(mask)), ONE, ndim, steps, squared, border, distances)


def edt_labels_out(
    labels: Tensor, ndim: int, sampling: Sequence[float], item_sampling: Tensor | None,
    squared: bool, border: bool, distances: Tensor,
) -> None:  # fmt: skip
    from fastdist.providers.numba_kernels import MULTI

    steps = _steps(sampling, item_sampling)
    if distances.numel():
        _edt(_comparable(_array(labels)), MULTI, ndim, steps, squared, border, distances)


def edt_indices_out(
    mask: Tensor, ndim: int, sampling: Sequence[float], item_sampling: Tensor | None, squared: bool,
    border: bool, distances: Tensor, indices: Tensor,
) -> None:  # fmt: skip
    steps = _steps(sampling, item_sampling)
    if not distances.numel():
        return
    space = tuple(distances.shape[distances.dim() - ndim :])
    voxels = math.prod(space)
    out = _flat(distances.detach().numpy(), voxels)
    image = _flat(_nonzero(_array(mask)), voxels)
    nearest = indices.detach().numpy().reshape(ndim, -1, voxels)
    items = max(1, len(out) // len(steps))
    rows = [steps]
    if not Geometry.of(space, steps, False, False, sites=True).whole:
        # One arithmetic for all would take the ties from images whose own distances are whole.
        rows = np.split(steps, len(steps))
    for row, own in enumerate(rows):
        geometry = Geometry.of(space, own, False, False, sites=True)
        finish = _unsigned(geometry, squared, out.dtype)
        part = slice(row * items, (row + 1) * items) if len(rows) > 1 else slice(None)
        transform_with_sites(image[part], geometry, items, finish, out[part], nearest[:, part])


# --- Signed maps ----------------------------------------------------------------------------------


def _classes(target: Array, classes: int) -> Array | None:
    """Class indices in the narrowest dtype; None where any value is no class index."""
    least, most = target.min(), target.max()
    if not (least >= 0 and most < classes):  # NaN is neither
        return None
    if target.dtype.kind == "f" and not (target == np.floor(target)).all():
        return None
    dtype = np.uint8 if classes <= 256 else np.int32 if classes < 2**31 else np.int64
    if target.dtype == np.bool_:
        target = target.view(np.uint8)
    return np.ascontiguousarray(target, dtype=dtype)


def _inner_boundary(inside: Array, border: bool) -> Array:
    """The voxels inside that touch the outside with a face, an edge or a corner, as bytes."""
    touching = ~inside
    for axis in range(inside.ndim):  # a box is dilated one axis at a time
        before = np.moveaxis(touching, axis, 0).copy()
        here = np.moveaxis(touching, axis, 0)
        here[1:] |= before[:-1]
        here[:-1] |= before[1:]
        if border:
            here[[0, -1]] = True
    return (touching & inside).view(np.uint8)


def _signed(
    geometry: Geometry, steps: Array, space: Sequence[int], zero: str, normalize: str,
    clip: float | None, empty: float | None, full: float | None, dtype: np.dtype[Any],
) -> Finish:  # fmt: skip
    """The conventions of design 4.4 as parameters of the last pass."""
    from fastdist.providers import numba_kernels as kernels

    real = np.float32 if dtype == geometry.dtype == np.float32 else np.float64
    parameters = np.zeros((len(steps), 7), real)
    nearest = steps.min(1)
    diagonal = np.sqrt(((steps * space) ** 2).sum(1))
    parameters[:, kernels.SCALE] = geometry.scale
    shift = {"shifted": nearest, "unit": 1.0, "midpoint": nearest / 2}.get(zero, 0.0)
    parameters[:, kernels.INSIDE] = shift
    parameters[:, kernels.OUTSIDE] = shift if zero == "midpoint" else 0.0
    parameters[:, kernels.CLIP] = math.inf if clip is None else clip
    parameters[:, kernels.FACTOR] = 1 / diagonal if normalize == "diagonal" else 1.0
    parameters[:, kernels.EMPTY] = diagonal if empty is None else empty + 0.0  # no -0.0
    parameters[:, kernels.FULL] = -diagonal if full is None else full + 0.0
    return Finish(kernels.SIGNED, 0.0, parameters)


def _normalize_by_largest(values: Array, inside: Array, border: bool) -> None:
    """Divide inside and outside by their largest magnitudes; constant maps stay as they are."""
    if not inside.any() or (inside.all() and not border):
        return
    for part in (inside, ~inside):
        largest = np.abs(values).max(where=part, initial=0)
        if largest > 0:
            np.divide(values, largest, out=values, where=part)
    values += 0.0


def signed_maps_out(
    target: Tensor, valid: Tensor | None, layout: str, first_class: int, ignore_index: int | None,
    ndim: int, sampling: Sequence[float], item_sampling: Tensor | None, zero: str, normalize: str,
    clip: float | None, empty: float | None, full: float | None, border: bool, maps: Tensor,
) -> None:  # fmt: skip
    from fastdist.providers.numba_kernels import ONE, TWO

    steps = _steps(sampling, item_sampling)
    count, channels, *space = maps.shape
    voxels = math.prod(space)
    array = _array(target)
    labels = None
    if valid is None or bool(_array(valid).all()):
        if layout == "labels" and array.size:
            labels = _classes(array, first_class + channels)
            if labels is not None and ignore_index is not None and (labels == ignore_index).any():
                labels = None
        elif layout == "nonzero":
            labels = np.not_equal(array, 0, order="C").view(np.uint8)
        elif layout == "above_half":
            labels = np.greater(array, 0.5, order="C").view(np.uint8)
    if labels is None:  # ignored voxels, or values that are an error
        composed.compose_signed_maps(
            edt_out, edt_labels_out, target, valid, layout, first_class, ignore_index, ndim,
            sampling, item_sampling, zero, normalize, clip, empty, full, border, maps,
        )  # fmt: skip
        return
    if maps.numel() == 0:
        return
    out = _flat(maps.detach().numpy(), voxels)
    labels = _flat(labels, voxels)
    repeat, first = (channels, first_class) if layout == "labels" else (1, 1)
    geometry = Geometry.of(tuple(space), steps, border, out.dtype != np.float64, sites=False)
    finish = _signed(geometry, steps, space, zero, normalize, clip, empty, full, out.dtype)
    items = channels * (count // len(steps))
    if zero != "inner":
        transform(labels, repeat, first, labels, TWO, border, geometry, items, finish, out)
    for m in range(len(out) if zero == "inner" or normalize == "max" else 0):
        inside = labels[m // repeat] == first + m % repeat
        if zero == "inner":
            # The nearest voxel of a class touches one that is not: one transform serves
            # both sides. Nothing outside of the image is a source.
            row = min(m // items, len(steps) - 1)
            edge = _inner_boundary(inside.reshape(space), border).reshape(1, -1)
            transform(
                edge, 1, 1, inside.view(np.uint8)[None], ONE, False,
                geometry.item(row), 1, finish.item(row), out[m : m + 1],
            )  # fmt: skip
        if normalize == "max":
            _normalize_by_largest(out[m], inside, border)


IMPLEMENTATIONS = {
    **composed.implementations(edt_out, edt_labels_out),
    "edt_out": edt_out,
    "edt_indices_out": edt_indices_out,
    "edt_labels_out": edt_labels_out,
    "signed_maps_out": signed_maps_out,
    "boundary_loss": partial(composed_loss.boundary_loss, signed_maps_out),
}
