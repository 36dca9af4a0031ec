"""The passes of the provider ``numba``: in which arithmetic, over which axes, by how many threads.

Nothing here imports Numba until a transform is asked for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[Any]]

GRAIN = 1 << 17  # voxels worth a thread of their own; as float32 they fit a core's second cache


def spread(job: Callable[[int, int], None], units: int, voxels: int) -> None:
    """Call job(first, last) for ranges that cover `units`, on as many threads as torch may use.

    The threads live for this call only: there is no pool that a forked child could wait for.
    """
    threads = min(torch.get_num_threads(), units, voxels // GRAIN)
    if threads <= 1:
        job(0, units)
        return
    size = -(-units // (4 * threads))
    starts = iter(range(0, units, size))
    lock = threading.Lock()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                job(start, min(start + size, units))
        except BaseException as error:
            errors.append(error)

    helpers = [threading.Thread(target=work, daemon=True) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]


@dataclass
class Geometry:
    """A space without its idle axes, and the arithmetic that its squared distances need.

    Distances are computed in units of `scale`, chosen so that squared spacings are whole where
    whole numbers can express them.
    """

    space: tuple[int, ...]  # at least two axes
    kept: list[int | None]  # which axis of the image each one is; None: added, of size one
    weights: Array  # [1 or items, axes of the space], squared spacings
    scale: Array  # [1 or items]
    dtype: np.dtype[Any]
    whole: bool  # all squared distances are whole numbers, and exact in `dtype`

    @classmethod
    def of(
        cls, space: tuple[int, ...], steps: Array, border: bool, single: bool, sites: bool
    ) -> Geometry:
        """The geometry of images of this shape.

        steps : [1 or items, axes]; single: is float32 accuracy enough? sites: are ties to be seen?
        """
        steps, scale, whole = _whole_steps(steps)
        # An axis of one voxel matters to the border only.
        kept: list[int | None] = [a for a, size in enumerate(space) if size > 1 or border]
        if len(kept) < 2:
            kept = [*[None] * (2 - len(kept)), *kept]
        sizes = [1 if axis is None else space[axis] for axis in kept]
        weights = np.ones((len(steps), len(kept)))
        for position, axis in enumerate(kept):
            if axis is not None:
                weights[:, position] = np.minimum(steps[:, axis], 2.0**400) ** 2
        extent = float((weights * [(size - 1.0) ** 2 for size in sizes]).sum(1).max())
        # Seeing ties takes one bit: distances are compared with half a step between them.
        bits = -1 if sites else 0
        if whole and extent <= 2.0 ** (24 + bits):
            dtype: np.dtype[Any] = np.dtype(np.float32)
        elif whole and extent <= 2.0 ** (52 + bits):
            dtype = np.dtype(np.float64)
        elif whole and extent < 2.0**61:
            dtype = np.dtype(np.int64)
        else:
            whole = False
            # Beyond 2^20 rows counting them in float32 would itself cost accuracy.
            small = max(sizes) <= 2**20 and extent < 2.0**90 and weights.max() < 2.0**90
            dtype = np.dtype(np.float32 if single and small and not sites else np.float64)
        return cls(tuple(sizes), kept, weights, scale, dtype, whole)

    def costs(self, position: int) -> Array:
        """Squared distances along an axis: [1 or items, 2 c + 1], of d voxels at c + d."""
        reach = -(-self.space[position] // 8) * 8
        squares = np.arange(-reach, reach + 1, dtype=np.float64) ** 2
        costs = self.weights[:, position, None] * squares
        if self.dtype == np.int64:
            whole = self.weights[:, position, None].astype(np.int64)
            exact = whole * np.arange(-reach, reach + 1, dtype=np.int64) ** 2
            return np.where(costs < 2.0**61, exact, 2**61)
        return costs.astype(self.dtype)

    def item(self, row: int) -> Geometry:
        """The same for the images of one row of spacings."""
        one = slice(row, row + 1)
        return replace(self, weights=self.weights[one], scale=self.scale[one])

    def added(self, position: int) -> bool:
        """Is this axis none of the image's?"""
        return self.kept[position] is None


def _whole_steps(steps: Array) -> tuple[Array, Array, bool]:
    """Spacings in units in which they are whole numbers, if there are such units.

    They are tried as they are, then in units of each image's smallest, which also makes the nearest
    possible distance exactly 1 and keeps very small and very large spacings in range.
    """
    if (steps == np.rint(steps)).all() and steps.max() < 2**26:
        return steps, np.ones(len(steps)), True
    unit = steps.min(1)
    ratio = steps / unit[:, None]
    rounded = np.rint(ratio)
    whole = bool((np.abs(ratio - rounded) <= 4e-16 * ratio).all() and ratio.max() < 2**26)
    return rounded if whole else ratio, unit, whole


def _span(space: tuple[int, ...], position: int) -> tuple[int, int, int]:
    """The image as (planes, n, width) for the pass along this axis."""
    return math.prod(space[:position]), space[position], math.prod(space[position + 1 :])


@dataclass
class Finish:
    """What the last pass stores, see ``numba_kernels.finish``."""

    kind: int
    missing: float | int
    parameters: Array  # [1 or items, 7]

    def item(self, row: int) -> Finish:
        """The same for the images of one row of parameters."""
        return replace(self, parameters=self.parameters[row : row + 1])


def transform(
    labels: Array,
    repeat: int,
    first_class: int,
    signs: Array,
    mode: int,
    border: bool,
    geometry: Geometry,
    items: int,
    finish: Finish,
    out: Array,
) -> None:
    """All passes over a batch of images.

    labels, signs : [images / repeat, voxels]; image m asks for class first_class + m % repeat
    items : images per row of the geometry's weights
    out : [images, voxels], contiguous
    """
    from fastdist.providers import numba_kernels as kernels
    from fastdist.providers.numba_search import LANES, none_of

    images, voxels = out.shape
    dtype, space = geometry.dtype, geometry.space
    none = dtype.type(none_of(dtype))
    shared = out.dtype.itemsize == dtype.itemsize
    work = out.view(dtype) if shared else np.empty(out.shape, dtype)
    axes = len(space)
    weights = geometry.weights[:, -1].astype(dtype)
    parameters = finish.parameters.astype(dtype if dtype.kind == "f" else np.float64, copy=False)

    def pass_along(position: int) -> tuple[Callable[[int, int], None], int, int]:
        planes, n, width = _span(space, position)
        costs = geometry.costs(position)
        last = position == 0 and out.dtype == dtype
        sides = (signs if position == 0 else labels).reshape(-1, planes, n, width)
        missing = dtype.type(finish.missing) if last else none
        kind = finish.kind if last else kernels.KEEP
        bordered = border and not geometry.added(position)
        shape = (images, planes, n, width)
        tiles = -(-width // LANES)

        run = partial(
            kernels.columns, sides, repeat, first_class, work.reshape(shape), items, costs, none,
            missing, mode, bordered, kind, parameters,
        )  # fmt: skip
        return run, images * planes, tiles

    planes, n, width = _span(space, axes - 2)
    by_rows = (-1, planes * n, width)
    bordered_rows = border and not geometry.added(axes - 1)
    columns, slices, tiles = pass_along(axes - 2)

    rows = partial(
        kernels.rows, labels.reshape(by_rows), repeat, first_class, work.reshape(by_rows), items,
        weights, none, mode, bordered_rows,
    )  # fmt: skip

    def slice_by_slice(first: int, last: int) -> None:
        # Rows and the columns across them while a few slices are in cache.
        step = max(1, GRAIN // (n * width))
        for start in range(first, last, step):
            end = min(start + step, last)
            rows(start * n, end * n)
            columns(start * tiles, end * tiles)

    total = images * voxels
    if slices >= 2 * torch.get_num_threads():
        spread(slice_by_slice, slices, total)
    else:
        spread(rows, slices * n, total)
        spread(columns, slices * tiles, total)
    for position in range(axes - 3, -1, -1):
        columns, slices, tiles = pass_along(position)
        spread(columns, slices * tiles, total)
    if out.dtype != dtype:
        _convert(signs, repeat, first_class, work, none, items, finish, out)


def _convert(
    signs: Array, repeat: int, first_class: int, work: Array, none: Any, items: int,
    finish: Finish, out: Array,
) -> None:  # fmt: skip
    from fastdist.providers.numba_kernels import CHUNK, convert

    images, voxels = out.shape
    missing = out.dtype.type(finish.missing)
    job = partial(
        convert, signs, repeat, first_class, work, items, finish.kind, none, missing,
        finish.parameters, out,
    )  # fmt: skip
    spread(job, images * -(-voxels // CHUNK), out.size)


def transform_with_sites(
    mask: Array, geometry: Geometry, items: int, finish: Finish, distances: Array, indices: Array
) -> None:
    """All passes over a batch of images, with the places of the nearest zeros.

    mask, distances : [images, voxels]; indices : [axes of the image, images, voxels]
    """
    from fastdist.providers import numba_sites as kernels
    from fastdist.providers.numba_search import LANES, none_of

    images, voxels = mask.shape
    dtype, space = geometry.dtype, geometry.space
    none = dtype.type(none_of(dtype))
    slop = dtype.type(geometry.whole)
    bits = [(size - 1).bit_length() for size in space]
    starts = np.cumsum([0, *bits])  # axis 0 in the lowest bits
    work = np.empty(mask.shape, dtype)
    keys = np.empty(mask.shape, np.int32 if starts[-1] < 32 else np.int64)
    total = images * voxels
    last = len(space) - 1
    height, width = voxels // space[last], space[last]
    by_rows = (images, height, width)
    weights = geometry.weights[:, -1].astype(dtype)

    rows = partial(
        kernels.rows_with_sites, mask.reshape(by_rows), work.reshape(by_rows),
        keys.reshape(by_rows), items, weights, none, int(starts[last]),
    )  # fmt: skip
    spread(rows, images * height, total)
    for position in range(last - 1, -1, -1):
        shape = (images, *_span(space, position))
        if shape[2] == 1:
            continue
        costs = geometry.costs(position)

        columns = partial(
            kernels.columns_with_sites, work.reshape(shape), keys.reshape(shape), items, costs,
            none, slop, int(starts[position]),
        )  # fmt: skip
        spread(columns, images * shape[1] * -(-shape[3] // LANES), total)
    _convert(mask, 1, 0, work, none, items, finish, distances)
    for axis in range(len(indices)):
        shift, mask_of_axis = 0, 0  # of an axis of one voxel
        if axis in geometry.kept:
            position = geometry.kept.index(axis)
            shift, mask_of_axis = int(starts[position]), (1 << bits[position]) - 1
        unpack = partial(
            kernels.unpack, work.reshape(-1), keys.reshape(-1), none, shift, mask_of_axis,
            indices[axis].reshape(-1),
        )  # fmt: skip
        spread(unpack, total, total)
