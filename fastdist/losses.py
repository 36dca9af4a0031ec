"""Losses as modules, with MONAI's names and arguments; and the schedules that weigh them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fastdist import checks, conventions, functional
from fastdist.checks import Sampling
from fastdist.schedules import ConstantSchedule, IncreaseSchedule, RebalanceSchedule

__all__ = ["BoundaryLoss", "ConstantSchedule", "IncreaseSchedule", "RebalanceSchedule"]


class BoundaryLoss(nn.Module):
    """Boundary loss of Kervadec et al., on exact signed distance maps computed in the step.

    "Boundary loss for highly unbalanced segmentation", MIDL 2019, equation (5)
    (https://arxiv.org/abs/1812.07032). The positional arguments, their order, and at unit spacing
    value and gradient are those of ``monai.losses.BoundaryLoss``. Combine it with a regional loss:
    alone, it empties the foreground (see `RebalanceSchedule`).

    Parameters
    ----------
    include_background : bool
        Whether channel 0 takes part in the loss. It takes part in the softmax in any case.
    to_onehot_y : bool
        Accepted for MONAI's sake: the target's shape says whether it holds class indices.
    sigmoid, softmax : bool
        The activation that makes probabilities of the input; at most one of these and
        ``other_act``.
    other_act : callable, optional
        Another activation.
    reduction : {"mean", "sum", "none"}
        Over items and classes; "none" gives (B, C'), with ``batch`` (C',), where C' counts the
        classes that take part.
    batch : bool
        Add sums and voxel counts over the items before dividing one by the other.
    spacing : float, sequence of float, or Tensor, optional
        Distance between neighbouring voxels, where a call gives none: one number, or one per axis
        in array order.
    ignore_index : int, optional
        Voxels of this class index are ignored: no part in sum or count, no gradient, neither
        foreground nor background of any class.
    zero : {"shifted", "unit", "inner", "midpoint", "none"}
        Where the maps' zero level lies; see `fastdist.conventions`.
    normalize : {None, "max", "diagonal"}
        Divide the maps by their largest magnitudes inside and outside, or by the image's diagonal.
    clip : float, optional
        Clamp the maps to [-clip, clip], before normalising.
    empty, full : float or "diagonal"
        The constant map of a class that is absent from an image, and of one that fills it.
    border : bool
        The outside of the image is background.
    offset : bool
        Subtract what a perfect prediction scores, so that it scores 0.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was expected.

    See Also
    --------
    fastdist.functional.boundary_loss : the same as a function, where each argument is explained.

    Examples
    --------
    >>> loss = BoundaryLoss(softmax=True, include_background=False)
    >>> logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    >>> labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    >>> labels[:, 2:5, 2:5] = 2
    >>> value = loss(logits, labels, spacing=(3.0, 0.5))
    >>> round(value.item(), 4)
    0.6004
    >>> value.backward()
    >>> logits.grad.shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[[Tensor], Tensor] | None = None,
        reduction: str = "mean",
        batch: bool = False,
        *,
        spacing: Sampling = None,
        ignore_index: int | None = None,
        zero: str = "shifted",
        normalize: str | None = None,
        clip: float | None = None,
        empty: float | str = 0.0,
        full: float | str = 0.0,
        border: bool = False,
        offset: bool = False,
    ) -> None:
        super().__init__()
        functional.check_activation(sigmoid, softmax, other_act)
        functional.check_reduction(reduction)
        for name, value in (
            ("include_background", include_background),
            ("to_onehot_y", to_onehot_y),
            ("batch", batch),
            ("border", border),
            ("offset", offset),
        ):
            checks.flag(name, value)
        conventions.resolve(zero, normalize, clip, empty, full)
        self.include_background = include_background
        self.to_onehot_y = to_onehot_y
        self.sigmoid = sigmoid
        self.softmax = softmax
        self.other_act = other_act
        self.reduction = str(getattr(reduction, "value", reduction))  # MONAI's is an enumeration
        self.batch = batch
        self.spacing = _checked_spacing(spacing)
        self.ignore_index = functional.check_ignore_index(ignore_index)
        self.zero = zero
        self.normalize = normalize
        self.clip = clip
        self.empty = empty
        self.full = full
        self.border = border
        self.offset = offset

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        spacing: Sampling = None,
        mask: Tensor | None = None,
        dist_map: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        input : Tensor
            (B, C, *S) logits or probabilities; float16, bfloat16, float32 or float64.
        target : Tensor
            (B, *S) or (B, 1, *S) class indices, or (B, C, *S) channels with foreground above 0.5;
            with C = 1 the foreground mask, (B, *S) or (B, 1, *S).
        spacing : float, sequence of float, or Tensor, optional
            This batch's, instead of the constructor's: a number, one per axis, or a (B, ndim)
            tensor with one row per item on the input's device.
        mask : Tensor, optional
            (B, *S) or (B, 1, *S); voxels where it is zero are ignored.
        dist_map : Tensor, optional
            (B, C, *S) maps computed elsewhere, or (B, C', *S) without the background's.

        Returns
        -------
        Tensor
            float64 for float64 input, else float32; no axes for "mean" and "sum".
        """
        loss = functional.boundary_loss(
            input,
            target,
            include_background=self.include_background,
            sigmoid=self.sigmoid,
            softmax=self.softmax,
            other_act=self.other_act,
            reduction=self.reduction,
            batch=self.batch,
            spacing=self.spacing if spacing is None else spacing,
            mask=mask,
            dist_map=dist_map,
            ignore_index=self.ignore_index,
            zero=self.zero,
            normalize=self.normalize,
            clip=self.clip,
            empty=self.empty,
            full=self.full,
            border=self.border,
            offset=self.offset,
        )
        if self.to_onehot_y and input.shape[1] == 1 and not torch.compiler.is_compiling():
            warnings.warn("single channel prediction, `to_onehot_y=True` ignored.", stacklevel=2)
        return loss

    def extra_repr(self) -> str:
        return ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in ("sigmoid", "softmax", "reduction", "zero")
        )


def _checked_spacing(spacing: Sampling) -> Sampling:
    """Numbers are checked here as far as an unknown number of axes allows; tensors in the call."""
    if spacing is None or isinstance(spacing, Tensor):
        return spacing
    if isinstance(spacing, list | tuple) and any(isinstance(row, Tensor) for row in spacing):
        return spacing
    numbers = checks.spacing_numbers(spacing, None, "spacing")
    return tuple(numbers) if isinstance(spacing, Iterable) else numbers[0]
