"""The loss ops in plain torch, for providers that only implement distance maps.

They are one item at a time, so that the largest temporary is one item's probabilities. What the ops
mean stands beside their schemas in ``fastdist/ops.py``; a map provider registers ``weighted_sums``
and ``weighted_sums_backward`` as they are, and ``boundary_loss`` bound to its own signed maps:

    functools.partial(boundary_loss, signed_maps_out)

On the CPU a wrong label or spacing is an error. On a GPU to ask for one would make the host wait:
there it counts as ignored, and every decision is a `torch.where` (see `on_host`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def on_host(tensor: Tensor) -> bool:
    """Whether the host may look at the values: those on a device it would have to wait for."""
    return tensor.device.type == "cpu"


def weighted_sums(
    input: Tensor,  # [N, C, *S]
    maps: Tensor,  # [N, K, *S]
    target: Tensor,  # [N, *S] classes or [N, K, *S] channels
    valid: Tensor | None,  # [N, *S]
    layout: str,
    first_class: int,
    ignore_index: int | None,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of probability times map, known voxels, and the sums of a perfect prediction.

    Returns
    -------
    sums : Tensor
        (N, K), float64 for float64 input, else float32.
    counts : Tensor
        (N,), int64: how many voxels of the item are known.
    perfect : Tensor
        (N, K), in the dtype of ``sums``: the sums of the maps over the foreground.
    """
    if layout == "labels" and on_host(target):
        check_classes(target, valid, input.shape[1], ignore_index)
    dtype = accumulation_dtype(input.dtype)
    items, classes = maps.shape[:2]
    sums = torch.zeros((items, classes), dtype=dtype, device=input.device)
    perfect = torch.zeros_like(sums)
    voxels = math.prod(input.shape[2:])
    counts = torch.full((items,), voxels, dtype=torch.int64, device=input.device)
    for n in range(items):
        item = _comparable(target[n])
        valid_here = None if valid is None else valid[n]
        known = _known(item, valid_here, layout, ignore_index, input.shape[1])
        weights = maps[n].to(dtype)
        terms = _probabilities(input[n], first_class, activation, dtype)[first_class:] * weights
        if known is not None:
            terms = torch.where(known, terms, 0)
            weights = torch.where(known, weights, 0)
            counts[n] = known.sum()
        sums[n] = terms.flatten(1).sum(1)
        for j in range(classes):
            foreground = _foreground(item, layout, first_class, j)
            perfect[n, j] = torch.where(foreground, weights[j], 0).sum()
    return sums, counts, perfect


def weighted_sums_backward(
    grad_sums: Tensor,  # [N, K]
    input: Tensor,
    maps: Tensor,
    target: Tensor,
    valid: Tensor | None,
    layout: str,
    first_class: int,
    ignore_index: int | None,
    activation: str,
) -> Tensor:
    """Gradient of ``weighted_sums`` with respect to ``input``, in its dtype and memory format.

    With g the gradient of the sums, phi the map and p the probability of one voxel, it is
    p_k (g_k phi_k - sum_j g_j p_j phi_j) for softmax, g p (1 - p) phi for sigmoid and g phi without
    an activation; exactly zero at ignored voxels.
    """
    dtype = accumulation_dtype(input.dtype)
    grad = torch.empty_like(input)
    column = (-1,) + (1,) * (input.dim() - 2)
    for n in range(input.shape[0]):
        valid_here = None if valid is None else valid[n]
        known = _known(_comparable(target[n]), valid_here, layout, ignore_index, input.shape[1])
        if not on_host(maps):
            # Maps of zeros only have no gradient. They may be those of an image that was ignored
            # for its spacing, whose logits may then be anything, even NaN.
            known = both(known, maps[n].any())
        grad_p = grad_sums[n].to(dtype).reshape(column) * maps[n].to(dtype)  # [K, *S]
        if activation == "softmax":
            p = _probabilities(input[n], first_class, activation, dtype)
            expected = (p[first_class:] * grad_p).sum(0)
            grad_z = -p * expected
            grad_z[first_class:] += p[first_class:] * grad_p
        else:
            grad_z = torch.zeros(input[n].shape, dtype=dtype, device=input.device)
            if activation == "sigmoid":
                p = input[n, first_class:].to(dtype).sigmoid()
                grad_p = grad_p * p * (1 - p)
            grad_z[first_class:] = grad_p
        grad[n] = grad_z if known is None else torch.where(known, grad_z, 0)
    return grad


def boundary_loss(
    signed_maps_out: Callable[..., None],
    input: Tensor,
    target: Tensor,
    valid: Tensor | None,
    layout: str,
    first_class: int,
    ignore_index: int | None,
    activation: str,
    sampling: Sequence[float],
    item_sampling: Tensor | None,
    zero: str,
    normalize: str,
    clip: float | None,
    empty: float | None,
    full: float | None,
    border: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``signed_maps_out`` into fresh maps, then ``weighted_sums`` of them.

    Returns
    -------
    sums, counts, perfect : Tensor
        As of ``weighted_sums``.
    maps : Tensor
        (N, K, *S), in the dtype of ``sums``; the backward pass reads them.
    """
    usable = None
    if item_sampling is not None:
        if on_host(item_sampling):
            check_spacing(item_sampling)  # the losses' name for it; the maps call it sampling
        else:
            usable = usable_spacing(item_sampling)
    shape = (input.shape[0], input.shape[1] - first_class, *input.shape[2:])
    maps = torch.empty(shape, dtype=accumulation_dtype(input.dtype), device=input.device)
    signed_maps_out(
        target,
        valid,
        layout,
        first_class,
        ignore_index,
        input.dim() - 2,
        sampling,
        item_sampling,
        zero,
        normalize,
        clip,
        empty,
        full,
        border,
        maps,
    )
    if usable is not None:
        everywhere = usable.view(-1, *[1] * (input.dim() - 2)).expand(-1, *input.shape[2:])
        valid = both(valid, everywhere)
    sums, counts, perfect = weighted_sums(
        input, maps, target, valid, layout, first_class, ignore_index, activation
    )
    return sums, counts, perfect, maps


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of maps, sums and results for an input of ``dtype``."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_classes(
    target: Tensor, valid: Tensor | None, num_classes: int, ignore_index: int | None
) -> None:
    """Raise ValueError for a known voxel whose value is no class index in [0, num_classes)."""
    values = _comparable(target)
    wrong = ~is_class(values, num_classes)
    if ignore_index is not None:
        wrong &= values != ignore_index
    if valid is not None:
        wrong &= valid
    if wrong.any():
        image, voxel = divmod(int(wrong.flatten().int().argmax()), math.prod(target.shape[1:]))
        also = "" if ignore_index is None else f" or ignore_index {ignore_index}"
        raise ValueError(
            f"labels: got {values[image].flatten()[voxel].item()} at voxel {voxel} of image "
            f"{image}, expected class indices from 0 to {num_classes - 1}{also}"
        )


def is_class(values: Tensor, num_classes: int) -> Tensor:
    """Where the values are whole numbers in [0, num_classes)."""
    within = (values >= 0) & (values < num_classes)
    return within & (values == values.floor()) if values.is_floating_point() else within


def usable_spacing(item_spacing: Tensor) -> Tensor:
    """(N,) bool: which images' spacings are finite and positive."""
    return (item_spacing.isfinite() & (item_spacing > 0)).all(1)


def check_spacing(item_spacing: Tensor) -> None:
    """Raise ValueError for an image whose spacing is not finite and positive."""
    wrong = ~usable_spacing(item_spacing)
    if wrong.any():
        image = int(wrong.int().argmax())
        raise ValueError(
            f"spacing: got {item_spacing[image].tolist()} for image {image}, "
            "expected finite numbers above zero"
        )


def _comparable(target: Tensor) -> Tensor:
    # Torch wraps the number that it compares with: uint8 255 would equal -1.
    return target if target.is_floating_point() else target.to(torch.int64)


def both(known: Tensor | None, further: Tensor) -> Tensor:
    """The voxels that are in both masks; None for all."""
    return further if known is None else known & further


def _known(
    item: Tensor, valid: Tensor | None, layout: str, ignore_index: int | None, num_classes: int
) -> Tensor | None:
    """Which voxels of one item are not ignored; None for all."""
    known = valid
    if layout == "labels":
        if not on_host(item):
            known = both(known, is_class(item, num_classes))
        if ignore_index is not None:
            known = both(known, item != ignore_index)
    return known


def _foreground(item: Tensor, layout: str, first_class: int, j: int) -> Tensor:
    """The voxels of map channel ``j`` in one item of the target."""
    if layout == "labels":
        return item == first_class + j
    return item[j] > 0.5 if layout == "above_half" else item[j] != 0


def _probabilities(logits: Tensor, first_class: int, activation: str, dtype: torch.dtype) -> Tensor:
    """The activation of one item, (C, *S); only softmax fills the channels before first_class."""
    if activation == "softmax":
        return logits.to(dtype).softmax(0)
    if activation == "sigmoid":
        return logits.to(dtype).sigmoid()
    return logits.to(dtype)
