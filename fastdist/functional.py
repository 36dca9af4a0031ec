"""Losses as functions: what ``fastdist.losses`` calls, for those who keep no module.

A loss here reads its target's layout off the shapes, checks every argument, and calls one op.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from fastdist import arrays, checks, conventions, memory, ops
from fastdist.checks import Sampling
from fastdist.loss_op import Call, distance_loss

REDUCTIONS = ("mean", "sum", "none")

#: target as the op takes it, valid, layout, first_class, ignore_index
_Target = tuple[Tensor, Tensor | None, str, int, int | None]


@memory.reported
def boundary_loss(
    input: Tensor,
    target: Tensor,
    *,
    include_background: bool = True,
    sigmoid: bool = False,
    softmax: bool = False,
    other_act: Callable[[Tensor], Tensor] | None = None,
    reduction: str = "mean",
    batch: bool = False,
    spacing: Sampling = None,
    mask: Tensor | None = None,
    dist_map: Tensor | None = None,
    ignore_index: int | None = None,
    zero: str = "shifted",
    normalize: str | None = None,
    clip: float | None = None,
    empty: float | str = 0.0,
    full: float | str = 0.0,
    border: bool = False,
    offset: bool = False,
) -> Tensor:
    """Mean over the voxels of probability times the signed distance to the class's boundary.

    Equation (5) of Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019
    (https://arxiv.org/abs/1812.07032). The exact signed distance maps are computed here, from the
    target, on its device; nothing is prepared and integer labels are never expanded to channels. At
    unit spacing value and gradient are those of MONAI's ``BoundaryLoss``. The loss is negative
    where the prediction is good, and lowest, not 0, where it is perfect, unless ``offset`` is set.

    Parameters
    ----------
    input : Tensor
        (B, C, *S) logits or probabilities with 1 to 3 axes of space; float16, bfloat16, float32 or
        float64, any memory format.
    target : Tensor
        With C > 1, (B, *S) or (B, 1, *S) class indices, integers or floats that are whole; or
        (B, C, *S) channels, foreground above 0.5. With C = 1, the foreground mask, (B, *S) or
        (B, 1, *S), foreground above 0.5. On the CPU an index outside of 0 .. C - 1 that is not
        ``ignore_index`` is a ValueError; on a GPU it counts as ignored (`fastdist.check_labels`
        asks).
    include_background : bool
        Whether channel 0 takes part in the loss. It takes part in the softmax in any case.
    sigmoid, softmax : bool
        The activation that makes probabilities of ``input``. At most one of these and
        ``other_act``; none of them where ``input`` holds probabilities.
    other_act : callable, optional
        Another activation, called with ``input``. Ignored voxels are 0 in what it is given.
    reduction : {"mean", "sum", "none"}
        Over the items and classes: their mean, their sum, or all of them, (B, C'), where C' counts
        the classes that take part.
    batch : bool
        Add sums and voxel counts over the items before dividing one by the other; "none" then
        gives (C',).
    spacing : float, sequence of float, Tensor, or list of Tensor, optional
        Distance between neighbouring voxels: one number, one per axis in array order, or a
        (B, ndim) tensor with one row per item on the input's device, or a list of its rows
        (MONAI's ``batch.pixdim``).
    mask : Tensor, optional
        (B, *S) or (B, 1, *S); voxels where it is zero are ignored, like those of ``ignore_index``.
    dist_map : Tensor, optional
        (B, C, *S) maps computed elsewhere, or (B, C', *S) without the background's. They replace
        the signed distance maps, and spacing, zero, normalize, clip, empty, full and border then
        have no meaning. The target still says what is ignored and what a perfect prediction is.
    ignore_index : int, optional
        Voxels of this class index (with C = 1, of this value in the mask) are ignored: no part in
        sum or count, no gradient even where the input is NaN, and neither foreground nor background
        of any class. For channels use ``mask``.
    zero, normalize, clip, empty, full, border
        How the maps are made; see `fastdist.signed_distance` and `fastdist.conventions`.
    offset : bool
        Subtract what a perfect prediction scores, so that it scores 0. The gradient stays the same.

    Returns
    -------
    Tensor
        Plain, whatever subclass came (docs/arrays.md). float64 for float64 input, else float32:
        half precision is read as it is and accumulated in float32. An item without any known voxel
        scores 0 and has no gradient.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected.
    RuntimeError
        For a second derivative: the loss has none here.
    torch.OutOfMemoryError
        Where memory cannot be had, with the bytes asked for.

    Examples
    --------
    >>> labels = torch.tensor([[0, 0, 2, 2, 2, 1]])  # (B, S)
    >>> logits = torch.zeros(1, 3, 6, requires_grad=True)
    >>> loss = boundary_loss(logits, labels, softmax=True)
    >>> round(loss.item(), 4)
    0.5
    >>> loss.backward()
    >>> perfect = torch.nn.functional.one_hot(labels).movedim(-1, 1).float()
    >>> round(boundary_loss(perfect, labels).item(), 4)
    -0.1111
    >>> boundary_loss(perfect, labels, offset=True, reduction="none")
    tensor([[0., 0., 0.]])
    """
    activation = check_activation(sigmoid, softmax, other_act)
    check_reduction(reduction)
    convention = conventions.resolve(zero, normalize, clip, empty, full)
    ignore_index = check_ignore_index(ignore_index)
    border, batch = checks.flag("border", border), checks.flag("batch", batch)
    offset = checks.flag("offset", offset)
    include_background = checks.flag("include_background", include_background)
    input = _check_input(input)
    if input.shape[1] == 1:
        if softmax:
            _warn("single channel prediction, `softmax=True` ignored.")
            activation = "none"
        if not include_background:
            _warn("single channel prediction, `include_background=False` ignored.")
            include_background = True
    first_class = 0 if include_background else 1
    geometry = checks.geometry(spacing, input.dim() - 2, input, 1, "spacing")
    checked = _target(input, target, mask, first_class, ignore_index)
    if other_act is not None:
        input = _activated(input, other_act, checked)
    maps = None if dist_map is None else _maps(input, dist_map, first_class)
    call = Call(
        *(input, maps, *checked, activation),
        *(*geometry, *convention, border),
        *(reduction, batch, offset),
    )
    return distance_loss(call)


def check_activation(
    sigmoid: bool, softmax: bool, other_act: Callable[[Tensor], Tensor] | None
) -> str:
    """The op's activation; an error for more than one of the three, or for what is no callable."""
    if other_act is not None and not callable(other_act):
        raise TypeError(f"other_act: got {type(other_act).__name__}, expected None or a callable")
    sigmoid, softmax = checks.flag("sigmoid", sigmoid), checks.flag("softmax", softmax)
    if sigmoid + softmax + (other_act is not None) > 1:
        raise ValueError(
            f"sigmoid, softmax, other_act: got {sigmoid}, {softmax}, {other_act}, "
            "expected at most one of the three"
        )
    return "sigmoid" if sigmoid else "softmax" if softmax else "none"


def check_reduction(reduction: str) -> None:
    """A reduction MONAI knows."""
    checks.choice("reduction", reduction, REDUCTIONS)


def check_ignore_index(ignore_index: int | None) -> int | None:
    """None or an integer of 64 bits, as Python's."""
    if ignore_index is None:
        return None
    return checks.integer("ignore_index", ignore_index, "None or an integer")


def _check_input(input: Tensor) -> Tensor:
    input = checks.image_tensor("input", input, checks.FLOATS)
    if not 3 <= input.dim() <= 5 or input.shape[1] < 1:
        raise ValueError(
            f"input: got shape {tuple(input.shape)}, expected (B, C, *S) with at least one channel "
            "and 1 to 3 axes of space"
        )
    return input


def _target(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    first_class: int,
    ignore_index: int | None,
) -> _Target:
    """The target's layout, which its shape and the input's number of channels decide."""
    target = checks.image_tensor("target", target)
    _check_device("target", target, input)
    items, channels, *space = input.shape
    one_map = target.dim() == input.dim() - 1
    if one_map:
        target = target.unsqueeze(1)
    if (
        target.dim() != input.dim()
        or target.shape[0] != items
        or tuple(target.shape[2:]) != tuple(space)
        or target.shape[1] not in (1, channels)
    ):
        got = tuple(target.squeeze(1).shape if one_map else target.shape)
        several = f" class indices, or {tuple(input.shape)} channels" if channels > 1 else ""
        raise ValueError(
            f"target: got shape {got} for input of shape {tuple(input.shape)}, "
            f"expected {(items, *space)} or {(items, 1, *space)}{several}"
        )
    valid = _valid(input, mask)
    if channels == 1:
        if ignore_index is not None:
            known = target.squeeze(1) != ignore_index
            valid = known if valid is None else known & valid
        return target, valid, "above_half", 0, None
    if target.shape[1] == 1:
        return target.squeeze(1), valid, "labels", first_class, ignore_index
    if ignore_index is not None:
        raise ValueError(
            f"ignore_index: got {ignore_index} with a target of {channels} channels, expected None:"
            " channels have no index to ignore, use mask="
        )
    return target[:, first_class:], valid, "above_half", first_class, None


def _valid(input: Tensor, mask: Tensor | None) -> Tensor | None:
    if mask is None:
        return None
    mask = checks.image_tensor("mask", mask)
    _check_device("mask", mask, input)
    items, _, *space = input.shape
    if not checks.has_shape(mask, (items, *space), (items, 1, *space)):
        raise ValueError(
            f"mask: got shape {tuple(mask.shape)} for input of shape {tuple(input.shape)}, "
            f"expected {(items, *space)} or {(items, 1, *space)}"
        )
    if mask.dim() == input.dim():
        mask = mask.squeeze(1)
    return mask if mask.dtype == torch.bool else mask != 0


def _activated(input: Tensor, other_act: Callable[[Tensor], Tensor], checked: _Target) -> Tensor:
    """The activation of ``input``, through which ignored voxels get no gradient."""
    target, valid, layout, _, ignore_index = checked
    if layout == "labels" and ignore_index is not None:
        known = target != ignore_index
        valid = known if valid is None else known & valid
    if valid is not None:
        # Not only the output: 0 * NaN in the activation's backward pass would be NaN.
        input = torch.where(valid.unsqueeze(1), input, 0)
    output = other_act(input)
    if not isinstance(output, Tensor):
        raise TypeError(f"other_act: returned {type(output).__name__}, expected a torch.Tensor")
    output = arrays.plain("other_act", output)
    if output.shape != input.shape or output.dtype not in checks.FLOATS:
        raise ValueError(
            f"other_act: returned shape {tuple(output.shape)} and dtype {output.dtype}, expected "
            f"{tuple(input.shape)} and a floating dtype"
        )
    return output


def _maps(input: Tensor, dist_map: Tensor, first_class: int) -> Tensor:
    dist_map = checks.image_tensor("dist_map", dist_map, checks.FLOATS)
    _check_device("dist_map", dist_map, input)
    if dist_map.requires_grad:
        raise ValueError(
            "dist_map: got a tensor that requires grad, expected one that does not: "
            "the loss has no gradient in its maps"
        )
    items, channels, *space = input.shape
    taking_part = (items, channels - first_class, *space)
    if not checks.has_shape(dist_map, (items, channels, *space), taking_part):
        raise ValueError(
            f"dist_map: got shape {tuple(dist_map.shape)} for input of shape {tuple(input.shape)}, "
            f"expected {taking_part} or {tuple(input.shape)}"
        )
    if dist_map.shape[1] == channels:
        dist_map = dist_map[:, first_class:]
    return dist_map.to(ops.accumulation_dtype(input))


def _check_device(name: str, tensor: Tensor, input: Tensor) -> None:
    if tensor.device != input.device:
        raise ValueError(
            f"{name}: got a tensor on {tensor.device} for input on {input.device}; "
            f"move it with {name}.to({str(input.device)!r})"
        )


def _warn(message: str) -> None:
    # A compiled graph has nowhere to warn from.
    if not torch.compiler.is_compiling():
        warnings.warn(message, stacklevel=3)
