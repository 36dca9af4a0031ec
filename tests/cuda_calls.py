"""One table of calls, every public function with every kind of argument, on the tensors of a batch.

Needs nothing but torch and fastdist: scripts/gpu/small_calls.py runs it under compute-sanitizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fastdist import (
    distance_transform_edt,
    edt,
    edt_labels,
    signed_distance,
    signed_distance_maps,
)
from fastdist.losses import BoundaryLoss

CLASSES = 3


@dataclass
class Batch:
    """Everything a call may be given, on one device."""

    labels: Tensor  # [B, *S] int64, classes 0, 1, 2
    mask: Tensor  # [B, *S] bool
    channels: Tensor  # [B, C, *S] uint8, overlapping
    valid: Tensor  # [B, *S] bool
    logits: Tensor  # [B, C, *S] float32
    half: Tensor  # the same in bfloat16
    maps: Tensor  # [B, C, *S] float32
    spacing: Tensor  # [B, ndim] float64

    @property
    def ndim(self) -> int:
        return self.labels.dim() - 1

    def copy_(self, other: Batch) -> None:
        """Take over the other's values, in the same memory."""
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name))


def batch(space: tuple[int, ...], device: str, items: int = 2, seed: int = 0) -> Batch:
    """A batch drawn from this seed: coarse objects with speckle, the same on every device."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    shape = (items, *space)
    coarse = draw(items, *(-(-n // 4) for n in space))
    for axis, n in enumerate(space, 1):
        coarse = coarse.repeat_interleave(4, axis).narrow(axis, 0, n)
    labels = (torch.where(draw(*shape) < 0.05, draw(*shape), coarse) * CLASSES).long()
    channels = torch.stack([draw(*shape) < 0.1, labels > 0, labels == 2], 1)
    logits = 4 * draw(items, CLASSES, *space) - 2
    parts = (
        labels,
        labels == 1,
        channels.to(torch.uint8),
        draw(*shape) > 0.2,
        logits,
        logits.bfloat16(),
        10 * draw(items, CLASSES, *space) - 5,
        (draw(items, len(space)) + 0.5).double(),
    )
    return Batch(*(part.to(device) for part in parts))


Call = Callable[[Batch], tuple[Tensor, ...]]


def _with_gradient(loss: BoundaryLoss, logits: str = "logits", target: str = "labels", **more: str):
    """A loss's value and gradient; `more` names the batch's tensors for further arguments."""

    def call(b: Batch) -> tuple[Tensor, ...]:
        leaf = getattr(b, logits).detach().requires_grad_()
        options = {name: getattr(b, tensor) for name, tensor in more.items()}
        value = loss(leaf, getattr(b, target), **options)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    return call


def _out(b: Batch) -> tuple[Tensor, ...]:
    out = torch.empty(b.mask.shape, device=b.mask.device)
    return (edt(b.mask, ndim=b.ndim, out=out),)


CALLS: dict[str, Call] = {
    "edt": lambda b: (edt(b.mask, ndim=b.ndim),),
    "edt, squared": lambda b: (edt(b.mask, ndim=b.ndim, squared=True),),
    "edt, squared int64": lambda b: (
        edt(b.mask, ndim=b.ndim, squared=True, border=True, dtype=torch.int64),
    ),
    "edt, rows": lambda b: (edt(b.mask, ndim=1, border=True),),
    "edt, spacing": lambda b: (edt(b.labels, 0.7, ndim=b.ndim),),
    "edt, item spacing": lambda b: (edt(b.mask, b.spacing, ndim=b.ndim, dtype=torch.float64),),
    "edt, out": _out,
    "edt, indices": lambda b: edt(b.mask, ndim=b.ndim, return_indices=True),
    "edt, indices, spacing": lambda b: edt(b.mask, 3, ndim=b.ndim, return_indices=True),
    "edt, indices, any spacing": lambda b: edt(
        b.mask, (0.7421, 0.5859375, 1.2500001)[: b.ndim], ndim=b.ndim, return_indices=True
    ),
    "edt, indices, item spacing": lambda b: edt(
        b.mask, b.spacing, ndim=b.ndim, return_indices=True
    ),
    "edt_labels": lambda b: (edt_labels(b.labels, ndim=b.ndim),),
    "edt_labels, item spacing": lambda b: (
        edt_labels(b.labels, b.spacing, ndim=b.ndim, border=True),
    ),
    "signed_distance": lambda b: (signed_distance(b.mask, ndim=b.ndim),),
    "signed_distance, unit": lambda b: (signed_distance(b.mask, 0.7, ndim=b.ndim, zero="unit"),),
    "signed_distance, inner": lambda b: (
        signed_distance(b.mask, ndim=b.ndim, zero="inner", empty="diagonal", full="diagonal"),
    ),
    "signed_distance, midpoint": lambda b: (
        signed_distance(b.mask, b.spacing, ndim=b.ndim, zero="midpoint", dtype=torch.float64),
    ),
    "signed_distance, border": lambda b: (
        signed_distance(b.mask, ndim=b.ndim, zero="none", border=True, clip=2.5),
    ),
    "maps": lambda b: (signed_distance_maps(b.labels, CLASSES),),
    "maps, bytes": lambda b: (signed_distance_maps(b.labels.to(torch.uint8), CLASSES),),
    "maps, ignored": lambda b: (signed_distance_maps(b.labels, CLASSES, ignore_index=2),),
    "maps, max": lambda b: (signed_distance_maps(b.labels, CLASSES, normalize="max"),),
    "maps, channels": lambda b: (signed_distance_maps(b.channels, CLASSES, onehot=True),),
    "maps, item spacing": lambda b: (
        signed_distance_maps(b.labels, CLASSES, b.spacing, normalize="diagonal", clip=4.0),
    ),
    "loss, softmax": _with_gradient(BoundaryLoss(softmax=True)),
    "loss, sigmoid": _with_gradient(
        BoundaryLoss(sigmoid=True, include_background=False, spacing=1.5, reduction="none")
    ),
    "loss, probabilities": _with_gradient(BoundaryLoss(reduction="sum", zero="inner")),
    "loss, other activation": _with_gradient(BoundaryLoss(other_act=torch.tanh, ignore_index=2)),
    "loss, ignored": _with_gradient(BoundaryLoss(softmax=True, ignore_index=2, normalize="max")),
    "loss, half": _with_gradient(BoundaryLoss(softmax=True), "half"),
    "loss, channels": _with_gradient(BoundaryLoss(sigmoid=True), target="channels"),
    "loss, mask": _with_gradient(BoundaryLoss(softmax=True), mask="valid"),
    "loss, given maps": _with_gradient(BoundaryLoss(softmax=True), dist_map="maps"),
    "loss, item spacing": _with_gradient(
        BoundaryLoss(softmax=True, offset=True, batch=True), spacing="spacing"
    ),
    "distance_transform_edt": lambda b: distance_transform_edt(b.mask, 2, return_indices=True),
}

#: Spaces that end within, at and just after words, warps and tiles, in every rank.
SPACES = [(1,), (33,), (200,), (1, 1), (31, 65), (64, 32), (1, 1, 1), (5, 33, 9), (17, 8, 66)]


def tolerance(dtype: torch.dtype) -> float:
    """How far the CPU and a GPU may differ, relative to the largest value of the result."""
    return {torch.float32: 4e-6, torch.float64: 1e-11, torch.bfloat16: 2**-7}.get(dtype, 0.0)
