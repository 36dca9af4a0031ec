"""Signed maps composed, in torch, of a provider's own transforms; and the loss composed of both.

A provider that implements `edt_out` and `edt_labels_out` gets the remaining ops here, by
`implementations`. Each image's map of a class is made in float64 where a spacing is not 1, so that
subtracting the spacing costs no accuracy, and rounded once. On a GPU the host never asks for a
value: what would be an error on the CPU counts as ignored (``composed_loss.on_host``).
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


def _steps(
    sampling: Sequence[float], item_sampling: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """The spacing of each image, float64 [N or 1, ndim]; and which images have one, if not all."""
    if item_sampling is None:
        return _row(sampling, device), None
    usable = composed_loss.usable_spacing(item_sampling)
    if not composed_loss.on_host(item_sampling):
        return torch.where(usable[:, None], item_sampling, 1.0), usable
    if not usable.all():
        item = int((~usable).nonzero()[0, 0])
        raise ValueError(
            f"sampling: got {item_sampling[item].tolist()} for item {item}, "
            "expected finite values > 0"
        )
    return item_sampling, None


def _row(numbers: Sequence[float], device: torch.device) -> Tensor:
    """Numbers of the host as float64 [1, count], without a copy from the host to a device."""
    row = torch.empty((1, len(numbers)), dtype=torch.float64, device=device)
    for place, number in zip(row.unbind(1), numbers, strict=True):
        place.fill_(number)
    return row


def _inner_boundary(foreground: Tensor, background: Tensor, ndim: int, border: bool) -> Tensor:
    """The foreground voxels that touch the background with a face, an edge or a corner."""
    touching = background
    for axis in range(-ndim, 0):  # a box is dilated one axis at a time
        size, before = foreground.shape[axis], touching
        touching = before.clone()
        touching.narrow(axis, 0, size - 1).logical_or_(before.narrow(axis, 1, size - 1))
        touching.narrow(axis, 1, size - 1).logical_or_(before.narrow(axis, 0, size - 1))
        if border:
            touching.select(axis, 0).fill_(True)
            touching.select(axis, size - 1).fill_(True)
    return touching.logical_and_(foreground)


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
    steps, usable = _steps(sampling, item_sampling, maps.device)
    if layout == "labels":
        # Wide, because torch wraps the number that it compares with: uint8 255 would equal -1.
        target = target.to(torch.float64 if target.is_floating_point() else torch.int64)
        num_classes = first_class + maps.shape[1]
        if composed_loss.on_host(target):
            composed_loss.check_classes(target, valid, num_classes, ignore_index)
        else:
            valid = composed_loss.both(valid, composed_loss.is_class(target, num_classes))
        target = target.to(torch.int64)
        if ignore_index is not None:
            valid = composed_loss.both(valid, target != ignore_index)
    if maps.numel() == 0:
        return
    unit = item_sampling is None and all(step == 1 for step in sampling)
    dtype = maps.dtype if unit else torch.float64
    geometry = (ndim, sampling, item_sampling)
    transforms = _Transforms(edt_out, edt_labels_out, geometry, dtype)
    per_image = (-1, *[1] * ndim)
    smallest = steps.amin(1).view(per_image).to(dtype)
    sizes = _row(maps.shape[2:], maps.device)
    diagonal = (sizes * steps).square().sum(1).sqrt().view(per_image).to(dtype)
    # Constants: adding 0.0 makes 0.0 of -0.0.
    when_empty = diagonal if empty is None else diagonal.new_full((), empty + 0.0)
    when_full = -diagonal if full is None else diagonal.new_full((), full + 0.0)
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
        value, constant = transforms.signed(
            foreground, background, valid is not None, smallest, zero, border
        )
        if clip is not None:
            value.clamp_(-clip, clip)
        if normalize == "diagonal":
            value /= diagonal
        elif normalize == "max":
            # Constants of their own are not part of the inside, nor are ignored voxels of either.
            inside = foreground if constant is None else foreground & ~constant
            value = torch.where(inside, value / _largest(value, inside), value)
            value = torch.where(background, value / _largest(value, background), value)
        if constant is not None:
            value = torch.where(constant, when_full, value)
        any_foreground = foreground.flatten(1).any(1)
        any_background = background.flatten(1).any(1)
        # The host only asks where it need not wait, to save a pass over the map.
        asks = composed_loss.on_host(maps)
        if not border and not (asks and any_background.all()):
            value = torch.where(any_background.view(per_image), value, when_full)
        if not (asks and any_foreground.all()):
            value = torch.where(any_foreground.view(per_image), value, when_empty)
        if valid is not None:
            value = torch.where(valid, value, 0)
        if usable is not None:
            value = torch.where(usable.view(per_image), value, 0)
        maps[:, channel] = value


def _largest(value: Tensor, part: Tensor) -> Tensor:
    """Each image's largest finite magnitude in this part of it; 1 where that is 0."""
    magnitude = torch.where(part, value.abs(), 0).nan_to_num_(0, 0, 0)
    largest = magnitude.amax(tuple(range(1, value.dim())), keepdim=True)
    return torch.where(largest > 0, largest, 1)


class _Transforms:
    """The transforms of a provider, at one sampling."""

    def __init__(
        self,
        edt_out: Transform,
        edt_labels_out: Transform,
        geometry: tuple[int, Sequence[float], Tensor | None],
        dtype: torch.dtype,
    ) -> None:
        self.edt_out, self.edt_labels_out = edt_out, edt_labels_out
        self.geometry, self.dtype = geometry, dtype

    def distance(self, transform: Transform, image: Tensor, border: bool = False) -> Tensor:
        distances = torch.empty(image.shape, dtype=self.dtype, device=image.device)
        transform(image, *self.geometry, False, border, distances)
        return distances

    def signed(
        self,
        foreground: Tensor,
        background: Tensor,
        ignores: bool,
        smallest: Tensor,  # [N or 1, 1, ...]
        zero: str,
        border: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The map before clipping; and for `inner` where it is the constant of a full image."""
        constant = None
        if zero == "inner":
            outside = self.distance(self.edt_out, ~foreground)
            inner = _inner_boundary(foreground, background, self.geometry[0], border)
            inside = self.distance(self.edt_out, ~inner)
            constant = foreground & inside.isinf()
        elif ignores or border:
            outside = self.distance(self.edt_out, ~foreground)
            inside = self.distance(self.edt_out, ~background, border)
        else:
            # Nothing is unknown: each voxel asks for the nearest one on the other side, one sweep.
            outside = inside = self.distance(self.edt_labels_out, foreground)
        shifts: dict[str, Tensor | float]
        shifts = {"shifted": smallest, "unit": 1.0, "midpoint": smallest / 2}
        shift = shifts.get(zero, 0.0)
        if zero == "midpoint":
            outside = outside - shift
        # shift - d, not -(d - shift): it is 0.0, never -0.0, where they are equal.
        return torch.where(foreground, shift - inside, outside), constant
