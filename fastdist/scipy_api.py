"""``distance_transform_edt`` with SciPy's contract, for arrays of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastdist import arrays, checks, memory, ops

_NUMBERS = (*checks.IMAGES, torch.complex64, torch.complex128)


@memory.reported
def distance_transform_edt(
    input: Any,
    sampling: float | Sequence[float] | None = None,
    return_distances: bool = True,
    return_indices: bool = False,
    distances: Any = None,
    indices: Any = None,
) -> Any:
    """Distance of each nonzero element to the nearest zero: `scipy.ndimage`'s function, faster.

    Parameters
    ----------
    input : array
        A NumPy array (or what NumPy makes one of: a list, a number, an xarray.DataArray), a torch
        tensor, or anything with DLPack, such as CuPy's and JAX's arrays; any strides and number of
        dimensions. The whole array is one image. Any nonzero, NaN included, is foreground.
        Masked and dask's arrays and the images of SimpleITK and nibabel are refused: the error
        says what to pass (docs/arrays.md).
    sampling : float or sequence of float, optional
        Distance between neighbouring elements, along all axes or along each.
    return_distances, return_indices : bool
        What to compute; one of them at least.
    distances : array, optional
        Where to put the distances, instead of returning them: float64, of the input's kind and
        shape.
    indices : array, optional
        Where to put the indices, instead of returning them: int32, of the input's kind and of shape
        ``(input.ndim, *input.shape)``.

    Returns
    -------
    distances : array
        float64, of the input's kind, on its device (float32 where JAX is told to know no float64;
        a plain tensor for every subclass). inf where there is no zero at all.
    indices : array
        int32 (int64 where an axis exceeds it), of shape ``(input.ndim, *input.shape)``: the
        coordinates of the nearest zero; -1 where there is none. Among equally near ones it is
        SciPy's: the smallest coordinate on the last axis wins, then on the one before it, and so
        on.

    What was asked for and not put into a given array is returned: an array, a tuple of two, or
    None.

    Raises
    ------
    RuntimeError
        Where SciPy raises it: neither distances nor indices asked for, an output given that is not
        asked for or has the wrong shape or dtype, a sampling of the wrong length.
    ValueError, TypeError
        A sampling that is not finite and positive; an input or output that is no such array.

    Notes
    -----
    The one difference from SciPy: without any zero it answers as if there were one outside of the
    array, at (-1, 0, ...).

    Examples
    --------
    >>> import fastdist, numpy as np
    >>> fastdist.distance_transform_edt(np.array([[0, 1, 1], [1, 1, 1]]), sampling=(2, 1))
    array([[0.        , 1.        , 2.        ],
           [2.        , 2.23606798, 2.82842712]])
    >>> distances, indices = fastdist.distance_transform_edt([1, 1, 0, 1], return_indices=True)
    >>> distances, indices
    (array([2., 1., 0., 1.]), array([[2, 2, 2, 2]], dtype=int32))
    """
    return_distances = checks.flag("return_distances", return_distances)
    return_indices = checks.flag("return_indices", return_indices)
    _check_wishes(return_distances, return_indices, distances, indices)
    with arrays.stream_of(input):
        return _transform(input, sampling, return_distances, return_indices, distances, indices)


def _transform(
    input: Any,
    sampling: float | Sequence[float] | None,
    return_distances: bool,
    return_indices: bool,
    distances: Any,
    indices: Any,
) -> Any:
    image, kind = arrays.image("input", input)
    image = checks.image_tensor("input", image, _NUMBERS)
    if image.dim() == 0:
        image = image[None]  # as SciPy does
    shape, ndim = tuple(image.shape), image.dim()
    steps = _steps(sampling, ndim)
    into: list[Tensor] = []
    returned: list[Tensor] = []
    written: list[tuple[Tensor, Callable[[], None] | None]] = []
    for name, given, wanted, of_shape, dtype in (
        ("distances", distances, return_distances, shape, torch.float64),
        ("indices", indices, return_indices, (ndim, *shape), ops.index_dtype(shape)),
    ):
        if given is not None:
            tensor, copy = _given(name, given, kind, of_shape, dtype, image)
            written.append((tensor, copy))
        elif wanted:
            tensor = kind.empty(of_shape, dtype, image.device)
            returned.append(tensor)
        elif name == "distances":  # the op computes them in any case
            tensor = torch.empty(of_shape, dtype=torch.float32, device=image.device)
        else:
            continue
        into.append(tensor)
    if image.is_complex() or any(arrays.overlap(image, tensor) for tensor, _ in written):
        image = image != 0
    if len(written) == 2 and arrays.overlap(written[0][0], written[1][0]):
        raise ValueError("indices: shares memory with distances, expected its own")
    transform = ops.edt_indices_out if return_indices else ops.edt_out
    transform(image, ndim, steps, None, False, False, *into)
    for tensor, copy in written:
        ops.mark_written(tensor)
        if copy is not None:
            copy()
    if not returned:
        return None
    if len(returned) == 1:
        return kind.wrap(returned[0])
    return kind.wrap(returned[0]), kind.wrap(returned[1])


def _check_wishes(
    return_distances: bool, return_indices: bool, distances: Any, indices: Any
) -> None:
    mistakes = []
    if not return_distances and not return_indices:
        mistakes.append("at least one of return_distances/return_indices must be True")
    if distances is not None and not return_distances:
        mistakes.append("return_distances must be True if distances is supplied")
    if indices is not None and not return_indices:
        mistakes.append("return_indices must be True if indices is supplied")
    if mistakes:
        raise RuntimeError(", ".join(mistakes))


def _steps(sampling: float | Sequence[float] | None, ndim: int) -> list[float]:
    if sampling is None:
        return [1.0] * ndim
    if isinstance(sampling, str):
        raise ValueError(f"sampling: got {checks.shown(sampling)}, expected numbers")
    given = checks.items(sampling)
    if given is not None and len(given) != ndim:
        raise RuntimeError(
            f"sampling: got a sequence of length {len(given)}, expected the input's rank, {ndim}"
        )
    return checks.spacing_numbers(sampling if given is None else given, ndim, "sampling")


def _given(
    name: str,
    array: Any,
    kind: arrays.Torch,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    image: Tensor,
) -> tuple[Tensor, Callable[[], None] | None]:
    """The tensor to write for an output array, and what copies it there, if it has to be copied."""
    if not kind.owns(array):
        raise TypeError(f"{name}: got {type(array).__name__}, expected {kind.name}, as the input")
    if isinstance(array, Tensor):
        array = arrays.dense(name, array)
    if tuple(array.shape) != shape:
        raise RuntimeError(
            f"{name} array has wrong shape: got {tuple(array.shape)}, expected {shape}"
        )
    tensor, copy = kind.writable(name, array)
    if tensor.dtype != dtype:
        expected = str(dtype).removeprefix("torch.")
        raise RuntimeError(f"{name} array must be {expected}: got {array.dtype}")
    if tensor.device != image.device:
        raise ValueError(f"{name}: got an array on {tensor.device}, expected {image.device}")
    return tensor, copy
