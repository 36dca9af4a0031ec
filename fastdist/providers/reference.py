"""The provider ``reference``: brute force over all pairs of voxels, in NumPy; the oracle.

Every voxel is measured against every zero voxel. At integer sampling the squared distances are
int64 and exact; at any other they are float64. Cost: the square of the number of voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fastdist.providers import composed

NAME = "reference"
DISPATCH_KEY = "CPU"

_NONE = np.iinfo(np.int64).max  # the squared distance to a zero voxel that does not exist
_PAIRS = 1 << 20  # pairs held at a time


def available() -> str | None:
    """Always available."""
    return None


def squared_distances(zero: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance to, and linear index of, the nearest True voxel of `zero`.

    `steps` holds the distance between neighbours along each axis; its dtype is the result's. Among
    equally near voxels the smallest coordinate on the last axis wins, then on the one before it,
    and so on. Where there is no True voxel the distance is the dtype's largest value and the index
    is -1.
    """
    shape = zero.shape
    # argwhere of the transposed image lists sites by last axis first: the first minimum is SciPy's.
    sites = np.argwhere(zero.T)[:, ::-1]
    linear = np.ravel_multi_index(tuple(sites.T), shape) if len(sites) else np.empty(0, np.int64)
    largest = _NONE if steps.dtype == np.int64 else np.inf
    best = np.full(shape, largest, steps.dtype)
    nearest = np.full(shape, -1, np.int64)
    if zero.size == 0:
        return best, nearest
    chunk = max(1, _PAIRS // shape[-1])
    for start in range(0, len(sites), chunk):
        part = sites[start : start + chunk]
        # tables[a][y, i]: squared distance along axis a between coordinate y and site i
        tables = [
            ((np.arange(size)[:, None] - part[:, axis]) * steps[axis]) ** 2
            for axis, size in enumerate(shape)
        ]
        for prefix in np.ndindex(shape[:-1]):
            base = sum(tables[axis][y] for axis, y in enumerate(prefix))
            candidates = base + tables[-1]  # [last axis, sites]
            winner = candidates.argmin(1)
            value = np.take_along_axis(candidates, winner[:, None], 1)[:, 0]
            better = value < best[prefix]
            best[prefix][better] = value[better]
            nearest[prefix][better] = linear[start + winner[better]]
    return best, nearest


def _border(best: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The squared distances where everything outside of the image is zero as well."""
    for axis, size in enumerate(best.shape):
        y = np.arange(size)
        outside = (np.minimum(y + 1, size - y) * steps[axis]) ** 2
        best = np.minimum(best, outside.reshape(-1, *[1] * (best.ndim - axis - 1)))
    return best


def _steps(
    space: Sequence[int], sampling: Sequence[float], item_sampling: Tensor | None, item: int
) -> np.ndarray:
    """The image's distances between neighbours: int64 where they are whole, else float64."""
    row = np.array(sampling if item_sampling is None else item_sampling[item].tolist(), np.float64)
    if item_sampling is not None and not (np.isfinite(row) & (row > 0)).all():
        raise ValueError(
            f"sampling: got {row.tolist()} for item {item}, expected finite values > 0"
        )
    whole = (row == np.rint(row)).all() and ((row * space) ** 2).sum() < 2**62
    return row.astype(np.int64) if whole else row


def _images(tensor: Tensor, ndim: int, writable: bool = False) -> np.ndarray:
    """The images of a tensor, batch axes folded: [N, *S]. A view where it has to be writable."""
    space = tensor.shape[tensor.dim() - ndim :]
    folded = tensor.detach() if tensor.requires_grad else tensor
    folded = folded.view(-1, *space) if writable else folded.reshape(-1, *space)
    if folded.dtype == torch.bfloat16:
        folded = folded.float()
    return folded.numpy()


def _result(best: np.ndarray, squared: bool, dtype: np.dtype) -> np.ndarray:
    """Squared distances as the output's dtype wants them."""
    if dtype.kind == "i":
        largest = np.iinfo(dtype).max
        return np.where(best == best.dtype.type(_NONE), largest, best).astype(dtype)
    if best.dtype == np.int64:
        none = best == _NONE
        best = best.astype(np.float64)
        best[none] = np.inf
    return (best if squared else np.sqrt(best)).astype(dtype)


def _all_steps(
    images: np.ndarray, sampling: Sequence[float], item_sampling: Tensor | None
) -> list[np.ndarray]:
    """Each image's steps, checked before anything is written."""
    return [_steps(images.shape[1:], sampling, item_sampling, n) for n in range(len(images))]


def edt_out(
    mask: Tensor,
    ndim: int,
    sampling: Sequence[float],
    item_sampling: Tensor | None,
    squared: bool,
    border: bool,
    distances: Tensor,
) -> None:
    if distances.numel() == 0:
        return
    images, out = _images(mask, ndim), _images(distances, ndim, writable=True)
    for image, result, steps in zip(
        images, out, _all_steps(images, sampling, item_sampling), strict=True
    ):
        best, _ = squared_distances(image == 0, steps)
        result[...] = _result(_border(best, steps) if border else best, squared, result.dtype)


def edt_indices_out(
    mask: Tensor,
    ndim: int,
    sampling: Sequence[float],
    item_sampling: Tensor | None,
    squared: bool,
    border: bool,
    distances: Tensor,
    indices: Tensor,
) -> None:
    if distances.numel() == 0:
        return
    images, out = _images(mask, ndim), _images(distances, ndim, writable=True)
    coordinates = indices.view(ndim, *out.shape).numpy()
    all_steps = _all_steps(images, sampling, item_sampling)
    for item, steps in enumerate(all_steps):
        best, nearest = squared_distances(images[item] == 0, steps)
        out[item] = _result(best, squared, out.dtype)
        unravelled = np.unravel_index(np.maximum(nearest, 0), nearest.shape)
        coordinates[:, item] = np.where(nearest < 0, -1, np.stack(unravelled))


def edt_labels_out(
    labels: Tensor,
    ndim: int,
    sampling: Sequence[float],
    item_sampling: Tensor | None,
    squared: bool,
    border: bool,
    distances: Tensor,
) -> None:
    if distances.numel() == 0:
        return
    images, out = _images(labels, ndim), _images(distances, ndim, writable=True)
    for image, result, steps in zip(
        images, out, _all_steps(images, sampling, item_sampling), strict=True
    ):
        for label in np.unique(image):
            same = image == label
            best, _ = squared_distances(~same, steps)
            best = _border(best, steps) if border else best
            result[same] = _result(best, squared, result.dtype)[same]


IMPLEMENTATIONS = {
    "edt_out": edt_out,
    "edt_indices_out": edt_indices_out,
    "edt_labels_out": edt_labels_out,
    **composed.implementations(edt_out, edt_labels_out),
}
