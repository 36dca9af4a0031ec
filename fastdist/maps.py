"""Distance transforms and signed distance maps of batches of images, for torch tensors.

Subclasses such as MONAI's MetaTensor are taken as plain tensors, and plain tensors come back
(docs/arrays.md).

The last ``ndim`` axes are space, every axis before them is batch. Nothing here computes: arguments
are checked and handed to ``torch.ops.fastdist.*``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._ops import OpOverload

from fastdist import checks, conventions, memory, ops
from fastdist.checks import Sampling

_FLOATS = (torch.float32, torch.float64)
_INTEGERS = (torch.int32, torch.int64)


@memory.reported
def edt(
    mask: Tensor,
    sampling: Sampling = None,
    *,
    ndim: int,
    squared: bool = False,
    border: bool = False,
    return_indices: bool = False,
    dtype: torch.dtype | None = None,
    out: Tensor | tuple[Tensor, Tensor] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Distance of each voxel to the nearest zero voxel of its image.

    Parameters
    ----------
    mask : Tensor
        (*batch, *S), any strides, bool, integer or floating. Any nonzero, NaN included, is
        foreground.
    sampling : float, sequence of float, Tensor, or list of Tensor, optional
        Distance between neighbouring voxels: one number, one per axis in array order, or a
        (B, ndim) tensor on the mask's device with one row per entry of the first batch axis, or a
        list of its rows (MONAI's ``batch.pixdim``).
    ndim : int
        How many of the last axes are space: 1, 2 or 3.
    squared : bool
        Return squared distances.
    border : bool
        Everything outside of the image is zero as well (``black_border`` of the package edt).
    return_indices : bool
        Return also the coordinates of that zero voxel. Not together with ``border``.
    dtype : torch.dtype, optional
        float32 or float64; float32 by default. Squared distances at unit sampling are integers, and
        int32 by default, or int64 where the shape needs it; either may be asked for.
    out : Tensor or (Tensor, Tensor), optional
        Contiguous tensors to write and return: the distances, or distances and indices.

    Returns
    -------
    distances : Tensor
        In the mask's shape. Zero at zero voxels. Where the image has no zero voxel: inf, or the
        largest value of an integer dtype.
    indices : Tensor
        Only with ``return_indices``: (ndim, *mask.shape), int32 (int64 where an axis exceeds it),
        -1 where there is no zero voxel. Among equally near zero voxels SciPy's: the smallest
        coordinate on the last axis wins, then on the one before it, and so on.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, before anything is written.

    Examples
    --------
    >>> import torch, fastdist
    >>> mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    >>> fastdist.edt(mask, ndim=2)
    tensor([[0.0000, 1.0000, 2.0000, 3.0000],
            [1.0000, 1.4142, 2.2361, 3.1623]])
    >>> fastdist.edt(mask, ndim=2, squared=True)
    tensor([[ 0,  1,  4,  9],
            [ 1,  2,  5, 10]], dtype=torch.int32)
    >>> fastdist.edt(mask, (2.0, 1.0), ndim=2, border=True)
    tensor([[0., 1., 2., 1.],
            [1., 2., 2., 1.]])
    """
    mask = checks.image_tensor("mask", mask)
    ndim = checks.space_rank("mask", mask, ndim)
    squared, border = checks.flag("squared", squared), checks.flag("border", border)
    return_indices = checks.flag("return_indices", return_indices)
    geometry = checks.geometry(sampling, ndim, mask, mask.dim() - ndim)
    if not return_indices:
        if isinstance(out, tuple | list):
            raise TypeError("out: got a pair, expected one tensor without return_indices=True")
        return _transform(ops.edt, ops.edt_out, mask, ndim, geometry, squared, border, dtype, out)
    if border:
        raise ValueError("border: got True with return_indices=True, expected only one of the two")
    if out is None:
        dtype = _distance_dtype(dtype, mask, ndim, geometry, squared, None)
        return ops.edt_indices(mask, ndim, *geometry, squared, border, dtype)
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise TypeError("out: expected a pair (distances, indices) with return_indices=True")
    distances, indices = out
    dtype = _distance_dtype(dtype, mask, ndim, geometry, squared, distances)
    shape = tuple(mask.shape)
    first = checks.output("out[0]", distances, shape, (dtype,), (mask, geometry[1]))
    integer = ops.index_dtype(shape[len(shape) - ndim :])
    integers = _INTEGERS if integer == torch.int32 else (torch.int64,)
    second = checks.output("out[1]", indices, (ndim, *shape), integers, (mask, geometry[1], first))
    ops.edt_indices_out(mask, ndim, *geometry, squared, border, first, second)
    ops.mark_written(first)
    ops.mark_written(second)
    return distances, indices


@memory.reported
def edt_labels(
    labels: Tensor,
    sampling: Sampling = None,
    *,
    ndim: int,
    squared: bool = False,
    border: bool = False,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Distance of each voxel to the nearest voxel with a different label.

    0 is a label like any other, as in ``edt.edt(labels + 1)`` of the package edt.

    Parameters
    ----------
    labels : Tensor
        (*batch, *S), any strides, bool, integer or floating.
    sampling, ndim, squared, dtype, out
        As for `edt`.
    border : bool
        The outside of the image differs from every label.

    Returns
    -------
    Tensor
        In the labels' shape. Where an image has one label only: inf, or the largest value of an
        integer dtype.

    Examples
    --------
    >>> import torch, fastdist
    >>> fastdist.edt_labels(torch.tensor([3, 3, 3, 0, 0, 7]), ndim=1)
    tensor([3., 2., 1., 1., 1., 1.])
    """
    labels = checks.image_tensor("labels", labels)
    ndim = checks.space_rank("labels", labels, ndim)
    squared, border = checks.flag("squared", squared), checks.flag("border", border)
    geometry = checks.geometry(sampling, ndim, labels, labels.dim() - ndim)
    return _transform(
        ops.edt_labels, ops.edt_labels_out, labels, ndim, geometry, squared, border, dtype, out
    )


@memory.reported
def signed_distance(
    mask: Tensor,
    sampling: Sampling = None,
    *,
    ndim: int,
    zero: str = "shifted",
    normalize: str | None = None,
    clip: float | None = None,
    empty: float | str = 0.0,
    full: float | str = 0.0,
    border: bool = False,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Signed distance to the boundary of each image's foreground, negative inside.

    Parameters
    ----------
    mask : Tensor
        (*batch, *S), any strides, bool, integer or floating. Any nonzero, NaN included, is
        foreground.
    sampling, ndim
        As for `edt`.
    zero : {"shifted", "unit", "inner", "midpoint", "none"}
        Where the zero level lies; see `fastdist.conventions`. "shifted" is Kervadec's and MONAI's
        map at unit spacing.
    normalize : {None, "max", "diagonal"}
        Divide the inside and the outside by their largest magnitudes, or all by the diagonal.
    clip : float, optional
        Clamp to [-clip, clip], before normalising.
    empty, full : float or "diagonal"
        The constant map of an image without foreground, and of one without background.
    border : bool
        The outside of the image is background.
    dtype : torch.dtype, optional
        float32 (default) or float64.
    out : Tensor, optional
        A contiguous tensor to write and return.

    Returns
    -------
    Tensor
        In the mask's shape; never infinite, never NaN.

    Examples
    --------
    >>> import torch, fastdist
    >>> mask = torch.tensor([0, 0, 1, 1, 1, 1, 1, 0])
    >>> fastdist.signed_distance(mask, ndim=1)
    tensor([ 2.,  1.,  0., -1., -2., -1.,  0.,  1.])
    >>> fastdist.signed_distance(mask, ndim=1, zero="midpoint")
    tensor([ 1.5000,  0.5000, -0.5000, -1.5000, -2.5000, -1.5000, -0.5000,  0.5000])
    """
    mask = checks.image_tensor("mask", mask)
    ndim = checks.space_rank("mask", mask, ndim)
    border = checks.flag("border", border)
    convention = conventions.resolve(zero, normalize, clip, empty, full)
    shape = mask.shape
    batch_axes = len(shape) - ndim
    geometry = checks.geometry(sampling, ndim, mask, batch_axes)
    if batch_axes == 1:
        target = mask.unsqueeze(1)
    elif batch_axes == 0:
        target = mask[None, None]
    else:
        target = mask.flatten(0, batch_axes - 1).unsqueeze(1)
    return _signed_maps(
        target, "nonzero", None, ndim, geometry, convention, border, 1, shape, dtype, out
    )


@memory.reported
def signed_distance_maps(
    labels: Tensor,
    num_classes: int,
    sampling: Sampling = None,
    *,
    onehot: bool = False,
    ignore_index: int | None = None,
    zero: str = "shifted",
    normalize: str | None = None,
    clip: float | None = None,
    empty: float | str = 0.0,
    full: float | str = 0.0,
    border: bool = False,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """One signed distance map per image and class, from a batch of label maps.

    Integer labels are never expanded to one-hot channels in memory.

    Parameters
    ----------
    labels : Tensor
        (B, *S) class indices, integers or floats that are whole; or, with ``onehot``,
        (B, num_classes, *S) channels, which may overlap, any nonzero being foreground.
    num_classes : int
        The number of classes C. An index outside of 0 .. C - 1 is a ValueError on the CPU, and
        counts as ignored on a GPU (`check_labels` asks).
    sampling
        As for `edt`; a tensor has a row per item.
    onehot : bool
        The labels are channels.
    ignore_index : int, optional
        Voxels with this label are neither foreground nor background of any class: their value is 0,
        and inside distances go to the nearest voxel KNOWN to be of another class.
    zero, normalize, clip, empty, full, border, dtype, out
        As for `signed_distance`, for each image and class.

    Returns
    -------
    Tensor
        (B, C, *S); never infinite, never NaN.

    Examples
    --------
    >>> import torch, fastdist
    >>> labels = torch.tensor([[0, 0, 2, 2, 2, 255]])
    >>> fastdist.signed_distance_maps(labels, 3, ignore_index=255)
    tensor([[[-1.,  0.,  1.,  2.,  3.,  0.],
             [ 0.,  0.,  0.,  0.,  0.,  0.],
             [ 2.,  1.,  0., -1., -2.,  0.]]])
    """
    labels = checks.image_tensor("labels", labels)
    num_classes = checks.integer("num_classes", num_classes)
    onehot, border = checks.flag("onehot", onehot), checks.flag("border", border)
    if not 1 <= num_classes < 2**31:
        raise ValueError(f"num_classes: got {num_classes}, expected at least 1, below 2**31")
    layout, first_space = ("nonzero", 2) if onehot else ("labels", 1)
    shape = labels.shape
    ndim = len(shape) - first_space
    if not 1 <= ndim <= 3:
        expected = "(B, C, *S)" if onehot else "(B, *S)"
        raise ValueError(
            f"labels: got shape {tuple(shape)}, expected {expected} with 1 to 3 axes of space"
            + ("" if onehot else _channel_axis(shape))
        )
    if onehot and shape[1] != num_classes:
        raise ValueError(
            f"labels: got shape {tuple(shape)}, expected num_classes={num_classes} channels"
        )
    if ignore_index is not None:
        if onehot:
            raise ValueError(
                f"ignore_index: got {checks.shown(ignore_index)} with onehot=True, expected None: "
                "channels have no index to ignore"
            )
        ignore_index = checks.integer("ignore_index", ignore_index, "None or an integer")
    convention = conventions.resolve(zero, normalize, clip, empty, full)
    try:
        geometry = checks.geometry(sampling, ndim, labels, 1)
    except ValueError as error:
        raise ValueError(f"{error}{'' if onehot else _channel_axis(shape)}") from None
    return _signed_maps(
        labels,
        layout,
        ignore_index,
        ndim,
        geometry,
        convention,
        border,
        num_classes,
        (shape[0], num_classes, *shape[first_space:]),
        dtype,
        out,
    )


def _transform(
    functional: OpOverload,
    into: OpOverload,
    image: Tensor,
    ndim: int,
    geometry: checks.Geometry,
    squared: bool,
    border: bool,
    dtype: torch.dtype | None,
    out: Tensor | None,
) -> Tensor:
    """`edt` or `edt_labels` of checked arguments, into a new tensor or into `out`."""
    dtype = _distance_dtype(dtype, image, ndim, geometry, squared, out)
    if out is None:
        return functional(image, ndim, *geometry, squared, border, dtype)
    written = checks.output("out", out, image.shape, (dtype,), (image, geometry[1]))
    into(image, ndim, *geometry, squared, border, written)
    ops.mark_written(written)
    return out


def _signed_maps(
    target: Tensor,
    layout: str,
    ignore_index: int | None,
    ndim: int,
    geometry: checks.Geometry,
    convention: conventions.Convention,
    border: bool,
    num_maps: int,
    shape: Sequence[int],
    dtype: torch.dtype | None,
    out: Tensor | None,
) -> Tensor:
    """The signed maps of checked arguments, in this shape, into a new tensor or into `out`."""
    arguments = (target, None, layout, 0, ignore_index, ndim, *geometry, *convention, border)
    if out is None:
        if dtype is None:
            dtype = torch.float32
        elif not isinstance(dtype, torch.dtype) or dtype not in _FLOATS:
            raise TypeError(
                f"dtype: got {checks.shown(dtype)}, expected torch.float32 or torch.float64"
            )
        return ops.signed_maps(*arguments, num_maps, dtype).view(shape)
    written = checks.output("out", out, shape, _FLOATS, (target, geometry[1]))
    _same_dtype(dtype, written)
    ops.signed_maps_out(*arguments, written.view(target.shape[0], num_maps, *shape[-ndim:]))
    ops.mark_written(written)
    return out


def _distance_dtype(
    dtype: torch.dtype | None,
    image: Tensor,
    ndim: int,
    geometry: checks.Geometry,
    squared: bool,
    out: Tensor | None,
) -> torch.dtype:
    """The dtype of distances: the one asked for, or `out`'s, or the natural one."""
    if isinstance(out, Tensor):
        _same_dtype(dtype, out)
        name, dtype = "out", out.dtype
    else:
        name = "dtype"
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise TypeError(f"dtype: got {checks.shown(dtype)}, expected None or a torch.dtype")
    if dtype in _FLOATS:
        return dtype
    whole = squared and geometry[1] is None and all(step == 1 for step in geometry[0])
    if dtype is None and not whole:
        return torch.float32
    if dtype is not None and dtype not in _INTEGERS:
        raise TypeError(
            f"{name}: got {dtype}, expected float32 or float64 (squared: or int32, int64)"
        )
    if not whole:
        raise ValueError(
            f"{name}: got {dtype}, expected float32 or float64: "
            "integers hold squared distances at unit sampling only"
        )
    if dtype == torch.int64:
        return dtype
    # The largest int32 stands for "no zero voxel" and must not be a distance.
    fits = sum((size - 1) ** 2 for size in image.shape[-ndim:]) < 2**31 - 1
    if dtype is None:
        return torch.int32 if fits else torch.int64
    if not fits:
        raise ValueError(
            f"{name}: got {dtype} for images of {tuple(image.shape[-ndim:])}, expected int64: "
            "their squared distances exceed int32"
        )
    return dtype


def _same_dtype(dtype: torch.dtype | None, out: Tensor) -> None:
    if dtype is not None and (not isinstance(dtype, torch.dtype) or dtype != out.dtype):
        raise ValueError(
            f"dtype: got {checks.shown(dtype)} with out of {out.dtype}, expected the same or None"
        )


def _channel_axis(shape: Sequence[int]) -> str:
    """What to say of class indices that seem to have a channel axis, (B, 1, *S)."""
    return "; without the axis of channels: labels[:, 0]" if shape[1:2] == (1,) else ""
