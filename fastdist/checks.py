"""Checks of arguments: every mistake names the argument, what came and what was expected.

Each gives back what the ops take: a plain tensor for a subclass, a Python number for NumPy's. The
functions above `check_labels` look at types, shapes, dtypes and devices only, never at values on a
device: they cost neither a synchronisation nor a graph break. `check_labels` and `check_spacing`
are the two that ask the device.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from decimal import Decimal
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastdist import arrays, memory

_UNIT = {ndim: [1.0] * ndim for ndim in range(1, 4)}
#: The dtypes of logits, maps and losses.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: The dtypes of images and labels: what the ops can read.
IMAGES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint16, torch.uint32, torch.uint64, *FLOATS,
)  # fmt: skip

#: A number, one number per axis in array order, a (ndim,) tensor, a (B, ndim) tensor, or a list of
#: B tensors (ndim,).
Sampling = float | Sequence[float] | Tensor | Sequence[Tensor] | None
#: The `sampling` and `item_sampling` of the ops.
Geometry = tuple[list[float], Tensor | None]

class _Short(reprlib.Repr):
    """One line for any value, whatever its own repr does."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = self.maxlong = 80

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Tensor | np.ndarray):
            try:
                return f"a {type(x).__name__} of shape {tuple(x.shape)} and {x.dtype}"
            except Exception:  # such as a nested tensor, which has no shape
                return f"a {type(x).__name__}"
        return super().repr1(x, level)


_short = _Short()


def shown(value: Any) -> str:
    """The value as an error shows it: one line, not a page, whatever its own repr does."""
    try:
        return " ".join(_short.repr(value).split())
    except Exception:  # an integer of 5000 digits has no repr, nor do some objects
        return f"a {type(value).__name__}"


def image_tensor(name: str, value: Tensor, dtypes: Sequence[torch.dtype] = IMAGES) -> Tensor:
    """A dense tensor of numbers that the ops can read, without its subclass."""
    if not isinstance(value, Tensor):
        kind, conversion = arrays.kind_of(value), _conversion(name, value)
        raise TypeError(f"{name}: got {kind}, expected a torch.Tensor{conversion}")
    value = arrays.dense(name, value)
    if value.dtype not in dtypes:
        raise TypeError(f"{name}: got dtype {value.dtype}, expected {_names(dtypes)}")
    return value


def _names(dtypes: Sequence[torch.dtype]) -> str:
    if dtypes is IMAGES:
        return "bool, integer or floating of 16 to 64 bits"
    names = [str(dtype).removeprefix("torch.") for dtype in dtypes]
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _conversion(name: str, value: Any) -> str:
    """How to make a tensor of what is no tensor."""
    made = arrays.instead(name, value)
    if made is not None:
        return f" of {made}"
    if isinstance(value, np.ndarray):
        return f": torch.from_numpy({name})"
    if arrays.has(value, "__dlpack__"):
        return f": torch.from_dlpack({name})"
    return f": torch.from_numpy(numpy.asarray({name}))" if arrays.has(value, "__array__") else ""


def integer(name: str, value: int, expected: str = "an integer") -> int:
    """An integer of Python's or NumPy's that fits 64 bits, as Python's."""
    if type(value) is not int:
        if isinstance(value, torch.SymInt):
            return value
        if isinstance(value, bool | np.timedelta64) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name}: got {shown(value)}, expected {expected}")
        value = int(value)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: got {shown(value)}, expected {expected} of 64 bits")
    return value


def number(name: str, value: float, expected: str = "a number") -> float:
    """A real number of any library, as Python's float. Booleans and words are no numbers."""
    if type(value) is float:
        return value
    try:
        if isinstance(value, np.ndarray | Tensor):
            value = value.item()  # of one element, else an error
        if isinstance(value, Real | Decimal) and not isinstance(value, bool | np.timedelta64):
            return float(value)
    except Exception:  # too large for a float, or no value of that tensor can be had
        pass
    raise TypeError(f"{name}: got {shown(value)}, expected {expected}")


def flag(name: str, value: bool) -> bool:
    """True or False, NumPy's too, or the 1 or 0 of a configuration file."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool_ | int | np.integer) and value in (0, 1):
        return bool(value)
    raise TypeError(f"{name}: got {shown(value)}, expected True or False")


def choice(name: str, value: str, names: Sequence[str], also: str = "") -> str:
    """One of these names."""
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name}: got {shown(value)}, expected {also}one of {tuple(names)}")
    return value


def has_shape(tensor: Tensor, *shapes: Sequence[int]) -> bool:
    """Whether the tensor has one of these shapes.

    The ranks come first: tuples of two ranks are compared as far as the shorter one goes, and a
    program that is exported with sizes left open would be bound to what such a comparison found.
    """
    shape = tensor.shape
    return any(len(shape) == len(other) and shape == tuple(other) for other in shapes)


def space_rank(name: str, tensor: Tensor, ndim: int) -> int:
    """`ndim`, which is 1, 2 or 3; and the tensor has that many axes at least."""
    ndim = integer("ndim", ndim, "1, 2 or 3")
    if not 1 <= ndim <= 3:
        raise ValueError(f"ndim: got {ndim}, expected 1, 2 or 3")
    if tensor.dim() < ndim:
        raise ValueError(
            f"{name}: got shape {tuple(tensor.shape)}, expected at least ndim={ndim} axes"
        )
    return ndim


def geometry(
    sampling: Sampling, ndim: int, like: Tensor, batch_axes: int, name: str = "sampling"
) -> Geometry:
    """The ops' `sampling` and `item_sampling` for images in `like`, its first axes being batch.

    A (B, ndim) tensor has one row for each entry of the first batch axis; it is repeated over the
    other batch axes. It has to be on `like`'s device: nothing is moved silently. A list of B rows,
    as MONAI collates them on the CPU, is put together here.
    """
    if sampling is None:
        return _UNIT[ndim], None
    if isinstance(sampling, list | tuple) and _are_rows(sampling):
        sampling = _rows(sampling, ndim, name)
        sampling = sampling.to(like.device) if sampling.device.type == "cpu" else sampling
    if isinstance(sampling, Tensor):
        return _UNIT[ndim], _item_sampling(sampling, ndim, like, batch_axes, name)
    return spacing_numbers(sampling, ndim, name), None


def _are_rows(sampling: Sequence[Any]) -> bool:
    """Whether these are tensors of several numbers, not numbers."""
    if not sampling or not all(isinstance(row, Tensor) and row.dim() > 0 for row in sampling):
        return False
    return len(sampling) == 1 or any(row.numel() != 1 for row in sampling)


def _rows(sampling: Sequence[Tensor], ndim: int, name: str) -> Tensor:
    """One (B, ndim) tensor of the spacings of each item."""
    rows = [_spacing_tensor(row, name) for row in sampling]
    if any(row.dim() != 1 or row.shape[0] != ndim for row in rows):
        shapes = sorted({tuple(row.shape) for row in rows})
        raise ValueError(
            f"{name}: got a list of {len(rows)} tensors of shape {', '.join(map(str, shapes))}, "
            f"expected one of shape ({ndim},) for each item; of a list with one tensor for each "
            f"axis make one of all: torch.stack({name}, 1)"
        )
    return torch.stack([row.detach().to(torch.float64) for row in rows])


def items(value: Any) -> list[Any] | None:
    """What a sequence holds, as far as an axis can need it; None for what is none."""
    if isinstance(value, Real | str | bytes | Mapping | Set) or not isinstance(value, Iterable):
        return None
    try:
        return list(islice(value, 65))  # some never end
    except Exception:  # such as an array without axes
        return None


def spacing_numbers(
    sampling: float | Iterable[Any], ndim: int | None, name: str
) -> list[float]:
    """One finite positive float per axis, from a number or a sequence of `ndim` numbers.

    Without `ndim` the number of axes is not known yet: the sequence may have any length.
    """
    axes = "ndim" if ndim is None else ndim
    expected = f"a number, {axes} numbers, or a (B, {axes}) tensor"
    given = items(sampling)
    if given is None:
        numbers = [number(name, sampling, expected)] * (ndim or 1)  # type: ignore[arg-type]
    else:
        numbers = [number(name, value, expected) for value in given]
        if len(numbers) != (ndim or max(len(numbers), 1)):
            raise ValueError(f"{name}: got {len(numbers)} numbers {numbers}, expected {expected}")
    for value in numbers:
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: got {numbers}, expected finite numbers > 0")
    return numbers


def _spacing_tensor(sampling: Tensor, name: str) -> Tensor:
    sampling = arrays.dense(name, sampling)
    if sampling.dtype not in IMAGES[1:]:
        raise TypeError(f"{name}: got dtype {sampling.dtype}, expected a real number type")
    return sampling


def _item_sampling(sampling: Tensor, ndim: int, like: Tensor, batch_axes: int, name: str) -> Tensor:
    sampling = _spacing_tensor(sampling, name)
    if sampling.device != like.device:
        raise ValueError(
            f"{name}: got a tensor on {sampling.device} for data on {like.device}; "
            f"move it once with {name}.to({str(like.device)!r})"
        )
    batch = like.shape[:batch_axes]
    images = math.prod(batch)
    items = batch[0] if batch_axes else 1
    rows = sampling.detach().to(torch.float64)
    # The rank before the sizes: to compare B with ndim would bind an exported program to B != ndim.
    rank = sampling.dim()
    if rank == 0 or (rank == 1 and sampling.shape[0] == ndim):
        return rows.expand(images, ndim).contiguous()
    if rank != 2 or sampling.shape[1] != ndim or sampling.shape[0] != items:
        raise ValueError(
            f"{name}: got a tensor of shape {tuple(sampling.shape)}, expected ({items}, {ndim}) or "
            f"({ndim},): "
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
) -> Tensor:
    """`out` can be written: of this shape, one of these dtypes, contiguous, apart from the inputs.

    The first input says which device it has to be on. What comes back is the same memory.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}: got {arrays.kind_of(out)}, expected a torch.Tensor")
    out = arrays.dense(name, out)
    if not has_shape(out, shape):
        raise ValueError(f"{name}: got shape {tuple(out.shape)}, expected {tuple(shape)}")
    if out.dtype not in dtypes:
        expected = " or ".join(str(dtype) for dtype in dtypes)
        raise TypeError(f"{name}: got dtype {out.dtype}, expected {expected}")
    if inputs[0] is not None and out.device != inputs[0].device:
        raise ValueError(f"{name}: got a tensor on {out.device}, expected {inputs[0].device}")
    if not out.is_contiguous():
        raise ValueError(f"{name}: got strides {out.stride()}, expected a contiguous tensor")
    if out.requires_grad:
        raise ValueError(f"{name}: got a tensor that requires grad, expected one that does not")
    if not torch.compiler.is_compiling():
        arrays.written_as_it_is(name, out)
        for other in inputs:
            # Same storage first: it is cheap to ask, and of a fake tensor there is nothing to ask.
            if other is not None and torch._C._overlaps(out, other) and arrays.overlap(out, other):
                raise ValueError(f"{name}: shares memory with another argument, expected its own")
    return out


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
    labels = image_tensor("labels", labels)
    num_classes = integer("num_classes", num_classes)
    if num_classes < 1:
        raise ValueError(f"num_classes: got {num_classes}, expected at least 1")
    if ignore_index is not None:
        ignore_index = integer("ignore_index", ignore_index, "None or an integer")
    if labels.is_meta:
        raise ValueError("labels: got a tensor on meta, expected one with values")
    # Wide, because torch wraps the number that it compares with: uint8 255 would equal -1.
    values = labels.to(torch.float64 if labels.is_floating_point() else torch.int64)
    wrong = (values < 0) | (values >= num_classes)
    if values.is_floating_point():
        wrong |= values != values.floor()  # NaN is not equal to itself
    if ignore_index is not None:
        known = values != ignore_index
        wrong &= known | (values < 0) if labels.dtype == torch.uint64 else known
    count = int(wrong.sum())
    if count:
        also = "" if ignore_index is None else f", or the ignore_index {ignore_index}"
        first = labels.flatten()[int(wrong.flatten().to(torch.uint8).argmax())].item()
        raise ValueError(
            f"labels: got the value {first} ({count} of {labels.numel()} are "
            f"wrong), expected whole numbers in [0, {num_classes}){also}"
        )


def check_spacing(spacing: float | Sequence[float] | Tensor | Sequence[Tensor]) -> None:
    """Raise unless every spacing is finite and positive.

    On the CPU the ops check this themselves. An item whose row of a CUDA spacing tensor is wrong
    counts as ignored, because asking would stop the host; this function asks.

    Parameters
    ----------
    spacing : float, sequence of float, Tensor, or list of Tensor
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
    if isinstance(spacing, list | tuple) and _are_rows(spacing):
        values = _rows(spacing, spacing[0].shape[-1], "spacing")
    elif isinstance(spacing, Tensor):
        values = _spacing_tensor(spacing, "spacing")
    else:
        spacing_numbers(spacing, None, "spacing")
        return
    if values.is_meta:
        raise ValueError("spacing: got a tensor on meta, expected one with values")
    values = values.to(torch.float64)
    wrong = (~(values.isfinite() & (values > 0))).nonzero()
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise ValueError(
            f"spacing: got {values[place].item()} at {place}, expected finite numbers > 0"
        )
