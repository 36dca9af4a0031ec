# mypy: disallow-untyped-defs=False
"""Kernels of the provider ``numba``: the transform that also remembers which voxel was nearest.

A voxel's key holds the coordinates of the nearest zero voxel found so far, the last axis in the
highest bits, then the one before it, axis 0 in the lowest: of equally near voxels the one with the
smallest key is SciPy's choice. A pass along an axis fills in that axis's bits and then minimises
(distance, key); the keys of one line order its candidates by the axes after this one and then by
their place on the line, so that the rule holds after every pass.
"""

from __future__ import annotations

import numpy as np

from fastdist.providers.numba_search import LANES, ROWS, compiled, load, search, store


@compiled
def rows_with_sites(mask, work, keys, items, weights, none, shift, first, last):
    """Squared distance along the rows first <= r < last to the nearest zero, and its place.

    mask, work, keys : [images, rows, n]
    shift : the lowest bit of this axis in the keys
    """
    length, n = mask.shape[1:]
    real, key = work.dtype.type, keys.dtype.type
    before = np.empty(n, np.int64)  # place of the nearest zero to the left, or -1
    for r in range(first, last):
        image = r // length
        line = mask[image, r % length]
        row = work[image, r % length]
        row_keys = keys[image, r % length]
        weight = weights[min(image // items, weights.shape[0] - 1)]
        place = -1
        for i in range(n):
            place = i if line[i] == 0 else place
            before[i] = place
        place = -1
        for i in range(n - 1, -1, -1):
            place = i if line[i] == 0 else place
            left, right = before[i], place
            nearest = left if right < 0 or (left >= 0 and i - left <= right - i) else right
            distance = real(i - nearest)
            row[i] = none if nearest < 0 else weight * distance * distance
            row_keys[i] = key(max(nearest, 0) << shift)


@compiled
def columns_with_sites(work, keys, items, costs, none, slop, shift, first, last):
    """One axis of all images, in place: the tiles of columns first <= u < last.

    work, keys : [images, planes, n, width]
    slop : 1 where all squared distances are whole, else 0: what tells two of them apart
    shift : the lowest bit of this axis in the keys
    """
    planes, n, width = work.shape[1:]
    key = keys.dtype.type
    tiles = (width + LANES - 1) // LANES
    blocks = (n + ROWS - 1) // ROWS
    group = max(ROWS, int(np.sqrt(blocks)))
    size = blocks * ROWS * LANES
    used = n * LANES
    source = np.full(size, none)
    best = np.zeros(size, work.dtype)
    source_keys = np.zeros(size, keys.dtype)
    best_keys = np.zeros(size, keys.dtype)
    minima = np.empty(blocks * LANES, work.dtype)
    group_minima = np.empty((blocks + group - 1) // group * LANES, work.dtype)
    lowest = np.empty(LANES, work.dtype)
    top = np.empty(LANES, work.dtype)
    for unit in range(first, last):
        image = unit // (tiles * planes)
        plane = unit // tiles % planes
        x = unit % tiles * LANES
        lanes = min(LANES, width - x)
        if lanes < LANES:
            source[:used] = none
        load(work[image, plane], x, lanes, source)
        load(keys[image, plane], x, lanes, source_keys)
        for i in range(used):
            source_keys[i] = key(source_keys[i] + ((i // LANES) << shift))
            best_keys[i] = source_keys[i]
            best[i] = source[i] if i % LANES < lanes else 0
        search(
            source, source_keys, best, best_keys, slop,
            costs[min(image // items, costs.shape[0] - 1)], minima, group_minima, lowest, top,
        )  # fmt: skip
        store(best, work[image, plane], x, lanes)
        store(best_keys, keys[image, plane], x, lanes)


@compiled
def unpack(work, keys, none, shift, mask, out, first, last):
    """Coordinates along one axis out of keys, of the voxels first <= v < last of all images.

    work, keys, out : [images * voxels]; -1 where there is no zero voxel
    shift, mask : the lowest bit of this axis in the keys, and a mask for the rest
    """
    coordinate = out.dtype.type
    for i in range(first, last):
        out[i] = coordinate(-1 if work[i] >= none else (keys[i] >> shift) & mask)
