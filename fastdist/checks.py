"""Checks of arguments: every mistake names the argument, what came and what was expected.

The functions above `check_labels` look at types, shapes, dtypes and devices only, never at values
on a device: they cost neither a synchronisation nor a graph break. `check_labels` and
`check_spacing` are the two that ask the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fastdist import memory
from fastdist.arrays import overlap

_UNIT = {ndim: [1.0] * ndim for ndim in range(1, 4)}

#: A number, one number per axis in array order, a (ndim,) tensor, or a (B, ndim) tensor.
Sampling = float | Sequence[float] | Tensor | None
#: The `sampling` and `item_sampling` of the ops.
Geometry = tuple[list[float], Tensor | None]


def image_tensor(name: str, value: Tensor) -> None:
    """A dense tensor of numbers that have an order."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: got {type(value).__name__}, expected a torch.Tensor")
    if value.is_complex():
        raise TypeError(f"{name}: got dtype {value.dtype}, expected bool, integer or floating")
    if value.layout != torch.strided:
        raise TypeError(f"{name}: got layout {value.layout}, expected a dense tensor")


def space_rank(name: str, tensor: Tensor, ndim: int) -> None:
    """`ndim` is 1, 2 or 3, and the tensor has that many axes at least."""
    if isinstance(ndim, bool) or not isinstance(ndim, int):
        raise TypeError(f"ndim: got {ndim!r}, expected 1, 2 or 3")
    if not 1 <= ndim <= 3:
        raise ValueError(f"ndim: got {ndim}, expected 1, 2 or 3")
    if tensor.dim() < ndim:
        raise ValueError(
            f"{name}: got shape {tuple(tensor.shape)}, expected at least ndim={ndim} axes"
        )


def geometry(
    sampling: Sampling, ndim: int, like: Tensor, batch_axes: int, name: str = "sampling"
) -> Geometry:
    """The ops' `sampling` and `item_sampling` for images in `like`, its first axes being batch.

    A (B, ndim) tensor has one row for each entry of the first batch axis; it is repeated over the
    other batch axes. It has to be on `like`'s device: nothing is moved silently.
    """
    if sampling is None:
        return _UNIT[ndim], None
    if isinstance(sampling, Tensor):
        return _UNIT[ndim], _item_sampling(sampling, ndim, like, batch_axes, name)
    return spacing_numbers(sampling, ndim, name), None


def spacing_numbers(sampling: float | Iterable[float], ndim: int, name: str) -> list[float]:
    """One finite positive float per axis, from a number or a sequence of `ndim` numbers."""
    if isinstance(sampling, float | int):
        numbers = [float(sampling)] * ndim
    elif isinstance(sampling, str):
        raise TypeError(f"{name}: got {sampling!r}, expected {_expected(ndim)}")
    else:
        given = sampling if isinstance(sampling, Iterable) else [sampling] * ndim
        try:
            numbers = [float(number) for number in given]
        except (TypeError, ValueError):
            raise TypeError(f"{name}: got {sampling!r}, expected {_expected(ndim)}") from None
        if len(numbers) != ndim:
            raise ValueError(
                f"{name}: got {len(numbers)} numbers {numbers}, expected {_expected(ndim)}"
            )
    for number in numbers:
        if not 0 < number < math.inf:
            raise ValueError(f"{name}: got {numbers}, expected finite numbers > 0")
    return numbers


def _expected(ndim: int) -> str:
    return f"a number, {ndim} numbers, or a (B, {ndim}) tensor"


def _item_sampling(sampling: Tensor, ndim: int, like: Tensor, batch_axes: int, name: str) -> Tensor:
    if sampling.dtype == torch.bool or sampling.is_complex():
        raise TypeError(f"{name}: got dtype {sampling.dtype}, expected a real number type")
    if sampling.device != like.device:
        raise ValueError(
            f"{name}: got a tensor on {sampling.device} for data on {like.device}; "
            f"move it once with {name}.to({str(like.device)!r})"
        )
    batch = like.shape[:batch_axes]
    images = math.prod(batch)
    items = batch[0] if batch_axes else 1
    shape = tuple(sampling.shape)
    rows = sampling.detach().to(torch.float64)
    if shape == () or shape == (ndim,):
        return rows.expand(images, ndim).contiguous()
    if shape != (items, ndim):
        raise ValueError(
            f"{name}: got a tensor of shape {shape}, expected ({items}, {ndim}) or ({ndim},): "
            "one row for each item of the first batch axis, one number for each axis of space"
        )
    if batch_axes > 1:
        rows = rows.unsqueeze(1).expand(items, math.prod(batch[1:]), ndim).reshape(images, ndim)
    return rows.contiguous()


def output(
    name: str,
    out: Tensor,
    shape: Sequence[int],
    dtypes: Sequence[torch.dtype],
    inputs: Sequence[Tensor | None],
) -> None:
    """`out` can be written: of this shape, one of these dtypes, contiguous, apart from the inputs.

    The first input says which device it has to be on.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}: got {type(out).__name__}, expected a torch.Tensor")
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{name}: got shape {tuple(out.shape)}, expected {tuple(shape)}")
    if out.dtype not in dtypes:
        expected = " or ".join(str(dtype) for dtype in dtypes)
        raise TypeError(f"{name}: got dtype {out.dtype}, expected {expected}")
    if inputs[0] is not None and out.device != inputs[0].device:
        raise ValueError(f"{name}: got a tensor on {out.device}, expected {inputs[0].device}")
    if out.layout != torch.strided or not out.is_contiguous():
        raise ValueError(f"{name}: got strides {out.stride()}, expected a contiguous tensor")
    if out.requires_grad:
        raise ValueError(f"{name}: got a tensor that requires grad, expected one that does not")
    if not torch.compiler.is_compiling():
        for other in inputs:
            # Same storage first: it is cheap to ask, and of a fake tensor there is nothing to ask.
            if other is not None and torch._C._overlaps(out, other) and overlap(out, other):
                raise ValueError(f"{name}: shares memory with another argument, expected its own")


@memory.reported
def check_labels(labels: Tensor, num_classes: int, ignore_index: int | None = None) -> None:
    """Raise unless every label is a class index or the ignore index.

    On the CPU the ops check this themselves. On a GPU a label that is no class counts as ignored,
    because asking would stop the host until the device has answered; this function asks.

    Parameters
    ----------
    labels : Tensor
        Class indices of any shape: integers, or floats that are whole.
    num_classes : int
        The number of classes C; the indices go from 0 to C - 1.
    ignore_index : int, optional
        A further value that may occur.

    Raises
    ------
    ValueError
        With the first wrong value and how many there are.

    Examples
    --------
    >>> import torch, fastdist
    >>> labels = torch.tensor([[0, 1, 2], [2, 255, 0]])
    >>> fastdist.check_labels(labels, 3, ignore_index=255)
    >>> fastdist.check_labels(labels, 3)
    Traceback (most recent call last):
    ...
    ValueError: labels: got the value 255 (1 of 6 are wrong), expected whole numbers in [0, 3)
    """
    image_tensor("labels", labels)
    # Wide, because torch wraps the number that it compares with: uint8 255 would equal -1.
    values = labels.to(torch.float64 if labels.is_floating_point() else torch.int64)
    wrong = (values < 0) | (values >= num_classes)
    if values.is_floating_point():
        wrong |= values != values.floor()  # NaN is not equal to itself
    if ignore_index is not None:
        wrong &= values != ignore_index
    count = int(wrong.sum())
    if count:
        also = "" if ignore_index is None else f", or the ignore_index {ignore_index}"
        raise ValueError(
            f"labels: got the value {labels[wrong][0].item()} ({count} of {labels.numel()} are "
            f"wrong), expected whole numbers in [0, {num_classes}){also}"
        )


def check_spacing(spacing: float | Sequence[float] | Tensor) -> None:
    """Raise unless every spacing is finite and positive.

    On the CPU the ops check this themselves. An item whose row of a CUDA spacing tensor is wrong
    counts as ignored, because asking would stop the host; this function asks.

    Parameters
    ----------
    spacing : float, sequence of float, or Tensor
        Spacing as the maps (``sampling=``) and the losses (``spacing=``) take it.

    Raises
    ------
    ValueError
        With the wrong numbers and where they stand.

    Examples
    --------
    >>> import torch, fastdist
    >>> fastdist.check_spacing(torch.tensor([[1.0, 0.5], [3.0, 0.9]]))
    >>> fastdist.check_spacing(torch.tensor([[1.0, 0.5], [0.0, 0.9]]))
    Traceback (most recent call last):
    ...
    ValueError: spacing: got 0.0 at (1, 0), expected finite numbers > 0
    """
    values = torch.as_tensor(spacing, dtype=None if isinstance(spacing, Tensor) else torch.float64)
    wrong = (~(values.isfinite() & (values > 0))).nonzero()
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise ValueError(
            f"spacing: got {values[place].item()} at {place}, expected finite numbers > 0"
        )
