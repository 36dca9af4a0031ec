"""The provider ``numba`` for CUDA tensors: the ops on a GPU without a compiler, by Numba's CUDA.

Small and simple, a fallback where the compiled library is absent. What the ops mean stands in
``fastdist/ops.py``. Each transform is a scan along the longest axis and an outward search along
every other one (``numba_cuda_kernels``); the signed maps and the losses are composed in torch.
Nothing is copied to or from the host, and the host waits for nothing.

A squared distance is a whole number wherever the host knows spacings that are whole multiples of
the smallest one, and float64 otherwise. Spacings in a tensor stay on the device, where an image
whose row is not finite and positive counts as ignored: its distances are 0, its indices -1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastdist.providers import composed
from fastdist.providers import numba_cuda_launch as launching

NAME = "numba"
DISPATCH_KEY = "CUDA"


def available() -> str | None:
    """None where Numba can use a GPU that torch has found, else the reason why not."""
    return launching.unavailable()


# --- Tensors as the kernels read them -------------------------------------------------------------

_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _nonzero(mask: Tensor) -> Tensor:
    """uint8, 0 where the mask is zero. NaN is not zero."""
    if mask.dtype != torch.bool:
        if not mask.is_floating_point():  # torch compares only some of the unsigned integers
            mask = mask.view(_SAME_SIZE[mask.itemsize])
        elif mask.itemsize == 1:
            mask = mask.to(torch.float32)
        mask = mask != 0
    return mask.contiguous().view(torch.uint8)


def _comparable(labels: Tensor) -> Tensor:
    """uint8, int32 or int64, equal where the labels are equal."""
    if labels.is_floating_point():
        wide = torch.float64 if labels.dtype == torch.float64 else torch.float32
        labels = labels.to(wide) + 0.0  # no -0.0
    labels = labels.view(_SAME_SIZE[labels.itemsize])
    return (labels.to(torch.int32) if labels.dtype == torch.int16 else labels).contiguous()


# --- Arithmetic -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Metric:
    """The squared spacings in which a transform computes, on the device.

    Attributes
    ----------
    dtype : torch.dtype
        Of squared distances: int32, int64 or float64.
    none : int or float
        Larger than any squared distance; doubled, an integer still fits 64 bits.
    weights : Tensor
        Squared spacings in units of the squared scale, (ndim, 1) or (ndim, N), of ``dtype``.
    scales : Tensor
        The physical length of one unit, (1,) or (N,), float64.
    unscaled : bool
        Whether the host knows that all scales are 1.
    usable : Tensor or None
        (N,) bool, False for images to ignore; None where none is.
    """

    dtype: torch.dtype
    none: int | float
    weights: Tensor
    scales: Tensor
    unscaled: bool
    usable: Tensor | None = None


def _metric(
    space: Sequence[int], sampling: Sequence[float], item_sampling: Tensor | None, like: Tensor
) -> _Metric:
    """The metric of images in this shape; `like` is any tensor on their device."""
    if item_sampling is not None:
        return _item_metric(space, item_sampling)
    whole = False
    for scale in (1.0, min(sampling)):
        ratios = [step / scale for step in sampling]
        # One more than the size: with a border there are sites one step outside.
        reach = math.hypot(*(ratio * (n + 1) for ratio, n in zip(ratios, space, strict=True)))
        whole = reach < 2**31 and all(
            ratio.is_integer() and ratio * scale == step
            for ratio, step in zip(ratios, sampling, strict=True)
        )
        if whole:
            break
    dtype = torch.float64 if not whole else torch.int32 if reach < 2**15 else torch.int64
    none = {torch.int32: 2**30, torch.int64: 2**62}.get(dtype, math.inf)
    weights = torch.empty((len(ratios), 1), dtype=dtype, device=like.device)
    for row, ratio in zip(weights, ratios, strict=True):
        row.fill_(int(ratio) ** 2 if whole else ratio * ratio)
    scales = torch.full((1,), scale, dtype=torch.float64, device=like.device)
    return _Metric(dtype, none, weights, scales, scale == 1)


def _item_metric(space: Sequence[int], item_sampling: Tensor) -> _Metric:
    """One row for each image, decided on the device; whole spacings keep ties exact in float64."""
    item_sampling = item_sampling.to(torch.float64)
    usable = (item_sampling.isfinite() & (item_sampling > 0)).all(1)
    steps = torch.where(usable[:, None], item_sampling, 1.0)
    reach = torch.zeros_like(steps[:, 0])
    for axis, size in enumerate(space):
        reach += (steps[:, axis] * (size + 1)).square()
    whole = (steps == steps.round()).all(1) & (reach < 2**53)
    scales = torch.where(whole, 1.0, steps.amin(1))
    weights = (steps / scales[:, None]).square().t().contiguous()
    return _Metric(torch.float64, math.inf, weights, scales, False, usable)


# --- Transforms -----------------------------------------------------------------------------------


def _axes(space: Sequence[int], border: bool) -> list[tuple[int, int, int]]:
    """(axis, length, inner) of the passes, the longest axis first: its pass is the cheapest.

    Axes of one voxel change nothing unless the image has a border, or there is no other.
    """
    passes = [(axis, size, math.prod(space[axis + 1 :])) for axis, size in enumerate(space)]
    passes.sort(key=lambda item: -item[1])
    return passes if border else [item for item in passes if item[1] > 1] or passes[:1]


def _edt(
    labels: Tensor,  # [*batch, *S], contiguous
    foreground_only: bool,
    ndim: int,
    sampling: Sequence[float],
    item_sampling: Tensor | None,
    squared: bool,
    border: bool,
    distances: Tensor,
) -> None:
    from fastdist.providers import numba_cuda_kernels as kernels

    space = tuple(distances.shape[distances.dim() - ndim :])
    voxels = math.prod(space)
    size = distances.numel()
    metric = _metric(space, sampling, item_sampling, labels)
    (axis, length, inner), *others = _axes(space, border)
    values = torch.empty(size, dtype=metric.dtype, device=labels.device)
    free = torch.empty_like(values) if others else values
    with launching.on(labels.device) as launch:
        launch(
            kernels.scan, size // length, labels, metric.weights[axis], voxels, length, inner,
            metric.none, int(foreground_only), int(border), values,
        )  # fmt: skip
        for axis, length, inner in others:
            launch(
                kernels.search, size, labels, values, metric.weights[axis], voxels, length, inner,
                int(foreground_only), int(border), free,
            )  # fmt: skip
            values, free = free, values
        _store(launch, values, metric, voxels, squared, distances)


def _store(
    launch: launching.Launch,
    values: Tensor,
    metric: _Metric,
    voxels: int,
    squared: bool,
    distances: Tensor,
) -> None:
    """Squared distances as the output's dtype wants them; no site is inf, or the largest integer.

    Integers that are not the squared distances themselves are cut off.
    """
    from fastdist.providers import numba_cuda_kernels as kernels

    out = distances.detach().view(-1)
    if out.is_floating_point():
        launch(
            kernels.store_distances, out.numel(), values, metric.scales, voxels, metric.none,
            int(squared), out,
        )  # fmt: skip
    else:
        missing = values >= metric.none
        if not metric.unscaled or not squared:
            physical = torch.empty(out.shape, dtype=torch.float64, device=out.device)
            _store(launch, values, metric, voxels, squared, physical)
            values = physical.masked_fill_(missing, 0)
        out.copy_(values).masked_fill_(missing, torch.iinfo(out.dtype).max)
    if metric.usable is not None:
        out.view(-1, voxels).masked_fill_(~metric.usable[:, None], 0)


def edt_out(
    mask: Tensor, ndim: int, sampling: Sequence[float], item_sampling: Tensor | None, squared: bool,
    border: bool, distances: Tensor,
) -> None:  # fmt: skip
    if distances.numel():
        _edt(_nonzero(mask), True, ndim, sampling, item_sampling, squared, border, distances)


def edt_labels_out(
    labels: Tensor, ndim: int, sampling: Sequence[float], item_sampling: Tensor | None,
    squared: bool, border: bool, distances: Tensor,
) -> None:  # fmt: skip
    if distances.numel():
        _edt(_comparable(labels), False, ndim, sampling, item_sampling, squared, border, distances)


def edt_indices_out(
    mask: Tensor, ndim: int, sampling: Sequence[float], item_sampling: Tensor | None, squared: bool,
    border: bool, distances: Tensor, indices: Tensor,
) -> None:  # fmt: skip
    if not distances.numel():
        return
    from fastdist.providers import numba_cuda_kernels as kernels

    mask = _nonzero(mask)
    space = tuple(distances.shape[distances.dim() - ndim :])
    voxels = math.prod(space)
    strides = [math.prod(space[:axis]) for axis in range(ndim)]  # the last axis weighs most
    size = distances.numel()
    metric = _metric(space, sampling, item_sampling, mask)
    (axis, length, inner), *others = _axes(space, False)
    key = torch.int32 if voxels < 2**31 else torch.int64
    values = torch.empty(size, dtype=metric.dtype, device=mask.device)
    keys = torch.empty(size, dtype=key, device=mask.device)
    free = (torch.empty_like(values), torch.empty_like(keys)) if others else (values, keys)
    with launching.on(mask.device) as launch:
        launch(
            kernels.scan_sites, size // length, mask, metric.weights[axis], voxels, length, inner,
            metric.none, strides[axis], values, keys,
        )  # fmt: skip
        for axis, length, inner in others:
            launch(
                kernels.search_sites, size, values, keys, metric.weights[axis], voxels, length,
                inner, metric.none, strides[axis], *free,
            )  # fmt: skip
            (values, keys), free = free, (values, keys)
        _store(launch, values, metric, voxels, squared, distances)
        coordinates = indices.detach().view(ndim, -1)
        for axis, out in enumerate(coordinates):
            launch(
                kernels.store_coordinates, size, values, keys, metric.none, strides[axis],
                space[axis], out,
            )  # fmt: skip
    if metric.usable is not None:
        coordinates.view(ndim, -1, voxels).masked_fill_(~metric.usable[None, :, None], -1)


IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {
    "edt_out": edt_out,
    "edt_indices_out": edt_indices_out,
    "edt_labels_out": edt_labels_out,
    **composed.implementations(edt_out, edt_labels_out),
}
