"""Signed maps composed, in torch, of a provider's own transforms; and the loss composed of both.

A provider that implements `edt_out` and `edt_labels_out` gets the remaining ops here, by
`implementations`. Each image's map of a class is made in float64 where a spacing is not 1, so that
subtracting the spacing costs no accuracy, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastdist.providers import composed_loss

Transform = Callable[..., None]


def implementations(edt_out: Transform, edt_labels_out: Transform) -> dict[str, Callable]:
    """The ops that follow from the two transforms of a provider: the signed maps and the losses."""

    def signed_maps_out(*arguments: Any) -> None:
        compose_signed_maps(edt_out, edt_labels_out, *arguments)

    return {
        "signed_maps_out": signed_maps_out,
        "weighted_sums": composed_loss.weighted_sums,
        "weighted_sums_backward": composed_loss.weighted_sums_backward,
        "boundary_loss": partial(composed_loss.boundary_loss, signed_maps_out),
    }


def _checked_steps(sampling: Sequence[float], item_sampling: Tensor | None) -> Tensor:
    """The spacing of each image, float64 [N or 1, ndim]."""
    if item_sampling is None:
        return torch.tensor([list(sampling)], dtype=torch.float64)
    wrong = ~(item_sampling.isfinite() & (item_sampling > 0)).all(1)
    if wrong.any():
        item = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"sampling: got {item_sampling[item].tolist()} for item {item}, "
            "expected finite values > 0"
        )
    return item_sampling


def _has_inner_face(foreground: Tensor, background: Tensor, ndim: int, border: bool) -> Tensor:
    """The foreground voxels with a face-neighbour in the background."""
    inner = torch.zeros_like(foreground)
    for axis in range(-ndim, 0):
        size = foreground.shape[axis]
        if border:
            inner.select(axis, 0).fill_(True)
            inner.select(axis, size - 1).fill_(True)
        inner.narrow(axis, 0, size - 1).logical_or_(background.narrow(axis, 1, size - 1))
        inner.narrow(axis, 1, size - 1).logical_or_(background.narrow(axis, 0, size - 1))
    return inner.logical_and_(foreground)


def compose_signed_maps(
    edt_out: Transform,
    edt_labels_out: Transform,
    target: Tensor,
    valid: Tensor | None,
    layout: str,
    first_class: int,
    ignore_index: int | None,
    ndim: int,
    sampling: Sequence[float],
    item_sampling: Tensor | None,
    zero: str,
    normalize: str,
    clip: float | None,
    empty: float | None,
    full: float | None,
    border: bool,
    maps: Tensor,
) -> None:
    """The op `signed_maps_out` by a provider's `edt_out` and `edt_labels_out`."""
    steps = _checked_steps(sampling, item_sampling)
    if layout == "labels":
        composed_loss.check_classes(target, valid, first_class + maps.shape[1], ignore_index)
        target = target.to(torch.int64)
        if ignore_index is not None:
            known = target != ignore_index
            valid = known if valid is None else valid & known
    if maps.numel() == 0:
        return
    unit = item_sampling is None and bool((steps == 1).all())
    dtype = maps.dtype if unit else torch.float64
    per_image = (-1, *[1] * ndim)
    one_map = _OneMap(
        (edt_out, edt_labels_out),
        (ndim, sampling, item_sampling),
        steps.amin(1).view(per_image),
        zero,
        border,
        dtype,
    )
    sizes = torch.tensor(maps.shape[2:], dtype=torch.float64)
    diagonal = (sizes * steps).square().sum(1).sqrt().view(per_image)
    for channel in range(maps.shape[1]):
        if layout == "labels":
            foreground = target == first_class + channel
        elif layout == "nonzero":
            foreground = target[:, channel] != 0
        else:
            foreground = target[:, channel] > 0.5
        background = ~foreground
        if valid is not None:
            foreground, background = foreground & valid, background & valid
        value, constant = one_map(foreground, background, valid is not None)
        if clip is not None:
            value.clamp_(-clip, clip)
        axes = tuple(range(1, ndim + 1))
        if normalize == "diagonal":
            value /= diagonal
        elif normalize == "max":
            # Constants of their own are not part of the inside, nor are ignored voxels of either.
            inside = foreground if constant is None else foreground & ~constant
            magnitude = value.abs()
            for part in (inside, background):
                largest = (magnitude * part).nan_to_num_(0, 0, 0).amax(axes, keepdim=True)
                largest = torch.where(largest > 0, largest, 1)
                value = torch.where(part, value / largest, value)
        any_foreground = foreground.any(-1)
        any_background = background.any(-1)
        for _ in range(ndim - 1):
            any_foreground, any_background = any_foreground.any(-1), any_background.any(-1)
        any_foreground = any_foreground.view(per_image)
        any_background = any_background.view(per_image)
        when_full = -diagonal if full is None else torch.tensor(full, dtype=torch.float64)
        when_empty = diagonal if empty is None else torch.tensor(empty, dtype=torch.float64)
        if constant is not None:
            value = torch.where(constant, when_full.to(dtype), value)
        if not border:
            value = torch.where(any_background, value, when_full.to(dtype))
        value = torch.where(any_foreground, value, when_empty.to(dtype))
        if valid is not None:
            value = torch.where(valid, value, 0)
        maps[:, channel] = value.add_(0.0)  # -0.0 becomes 0.0


class _OneMap:
    """Signed distances of one class of every image, neither clipped nor normalised."""

    def __init__(
        self,
        transforms: tuple[Transform, Transform],
        geometry: tuple[int, Sequence[float], Tensor | None],
        smallest_step: Tensor,  # [N or 1, 1, ...]
        zero: str,
        border: bool,
        dtype: torch.dtype,
    ) -> None:
        self.edt_out, self.edt_labels_out = transforms
        self.geometry, self.spacing = geometry, smallest_step.to(dtype)
        self.zero, self.border, self.dtype = zero, border, dtype

    def _distance(self, transform: Transform, image: Tensor, border: bool = False) -> Tensor:
        distances = torch.empty(image.shape, dtype=self.dtype)
        transform(image, *self.geometry, False, border, distances)
        return distances

    def __call__(
        self, foreground: Tensor, background: Tensor, ignores: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The map, and for `inner` where it is the constant of a full image instead."""
        constant = None
        if self.zero == "inner":
            outside = self._distance(self.edt_out, ~foreground)
            inner = _has_inner_face(foreground, background, self.geometry[0], self.border)
            inside = self._distance(self.edt_out, ~inner)
            constant = foreground & inside.isinf()
        elif ignores or self.border:
            outside = self._distance(self.edt_out, ~foreground)
            inside = self._distance(self.edt_out, ~background, self.border)
        else:
            # Nothing is unknown: each voxel asks for the nearest one on the other side, one sweep.
            outside = inside = self._distance(self.edt_labels_out, foreground)
        if self.zero == "midpoint":
            outside = outside - self.spacing / 2
            inside = inside - self.spacing / 2
        elif self.zero == "shifted":
            inside = inside - self.spacing
        elif self.zero == "unit":
            inside = inside - 1
        return torch.where(foreground, -inside, outside), constant
