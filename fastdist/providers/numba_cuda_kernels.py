# mypy: disallow-untyped-defs=False
"""Kernels of the provider ``numba`` for CUDA tensors: exact min-plus passes, one axis at a time.

All arrays are flat. An axis is seen as (outer, length, inner): element e stands at y = e // inner %
length of its line, and its neighbours on the line are `inner` elements away. `weights` is the
squared spacing of this axis, one for all images or one per image of `voxels` elements, in units in
which squared distances may be whole numbers. `none`, larger than any squared distance, stands for
"no site yet"; sums are taken in 64 bits, where none plus a cost fits.

Every kernel loops over its work with the stride of the grid, so that any grid does, and no thread
waits for another: they run as they are under Numba's simulator. A search costs each voxel the way
to its nearest site; without any, that is the length of the line, along every axis but the first.
"""

from __future__ import annotations

import math
from typing import Any

import numba.cuda

cuda: Any = numba.cuda  # what it offers to kernels is not what it offers to a type checker


def compiled(function):
    """Compile when first launched, for the types of that launch; keep the result on disk."""
    try:
        return cuda.jit(cache=True)(function)
    except RuntimeError:  # no directory for the cache can be written to
        return cuda.jit(function)


# --- Distances to the nearest voxel of another label. ---------------------------------------------


@compiled
def scan(labels, weights, voxels, length, inner, none, foreground_only, border, out):
    """The first pass: squared distance, along one axis, to the nearest voxel of another label.

    One thread walks one line, forth and back, so that a long line costs no more than its length.
    With `foreground_only` the label 0 gets 0; with `border` the outside is of another label.
    """
    for line in range(cuda.grid(1), labels.size // length, cuda.gridsize(1)):
        start = line // inner * length * inner + line % inner
        weight = weights[start // voxels % weights.size]
        found = border != 0
        other = -1  # the nearest voxel of another label on this side
        previous = labels[start]
        for y in range(length):
            e = start + y * inner
            label = labels[e]
            if label != previous:
                found = True
                other = y - 1
                previous = label
            out[e] = y - other if found else 0  # how many steps; no site is 0 steps away
        found = border != 0
        other = length
        for y in range(length - 1, -1, -1):
            e = start + y * inner
            label = labels[e]
            if label != previous:
                found = True
                other = y + 1
                previous = label
            steps = out[e]
            if found and (steps == 0 or other - y < steps):
                steps = other - y
            if foreground_only != 0 and label == 0:
                out[e] = 0
            elif steps == 0:
                out[e] = none
            else:
                out[e] = weight * steps * steps


@compiled
def search(labels, source, weights, voxels, length, inner, foreground_only, border, out):
    """A further pass: out(y) = min over i of source(i) + weight (y - i)^2 on each line.

    A voxel of another label is a site itself, at cost 0. One thread takes one voxel and looks
    outward, until the way alone costs as much as the best site it has found.
    """
    for e in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        label = labels[e]
        best = source[e]
        if foreground_only == 0 or label != 0:
            y = e // inner % length
            before, behind = y, length - 1 - y
            weight = weights[e // voxels % weights.size]
            if border != 0:
                steps = (before if before < behind else behind) + 1
                value = weight * steps * steps
                best = value if value < best else best
            for steps in range(1, (before if before > behind else behind) + 1):
                cost = weight * steps * steps
                if cost >= best:
                    break
                for side in range(2):
                    if steps <= (behind if side else before):
                        i = e + (steps if side else -steps) * inner
                        value = cost if labels[i] != label else source[i] + cost
                        best = value if value < best else best
        out[e] = best


# --- Distances to the nearest zero voxel, and which one that is. ----------------------------------
#
# A voxel's key is the sum over the axes of a site's coordinate times that axis' stride, the last
# axis having the largest one: of equally near sites the one with the smallest key is SciPy's.


@compiled
def scan_sites(mask, weights, voxels, length, inner, none, stride, out, keys):
    """`scan` for zero voxels; `keys` are the coordinates of the nearest one times `stride`."""
    for line in range(cuda.grid(1), mask.size // length, cuda.gridsize(1)):
        start = line // inner * length * inner + line % inner
        weight = weights[start // voxels % weights.size]
        site = -1
        for y in range(length):
            e = start + y * inner
            if mask[e] == 0:
                site = y
            keys[e] = site
        site = -1
        for y in range(length - 1, -1, -1):
            e = start + y * inner
            if mask[e] == 0:
                site = y
            before = keys[e]
            nearest = site if before < 0 or (site >= 0 and site - y < y - before) else before
            keys[e] = nearest * stride
            out[e] = none if nearest < 0 else weight * (nearest - y) * (nearest - y)


@compiled
def search_sites(source, keys, weights, voxels, length, inner, none, stride, out, out_keys):
    """`search` for zero voxels: the smallest (squared distance, key) of each line.

    The keys of `source` hold the coordinates along the axes before; here this axis' is added.
    """
    for e in range(cuda.grid(1), source.size, cuda.gridsize(1)):
        y = e // inner % length
        before, behind = y, length - 1 - y
        best = source[e]
        key = keys[e] + y * stride
        weight = weights[e // voxels % weights.size]
        for steps in range(1, (before if before > behind else behind) + 1):
            cost = weight * steps * steps
            if cost > best:  # not where they are equal: a tie may be won by the smaller key
                break
            for side in range(2):
                if steps <= (behind if side else before):
                    way = steps if side else -steps
                    value = source[e + way * inner] + cost
                    candidate = keys[e + way * inner] + (y + way) * stride
                    if value < best or (value == best and best < none and candidate < key):
                        best = value
                        key = candidate
        out[e] = best
        out_keys[e] = key


# --- Results. -------------------------------------------------------------------------------------


@compiled
def store_distances(values, scales, voxels, none, squared, out):
    """Squared distances, or their roots, in physical units; inf where there is no site."""
    for e in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        scale = scales[e // voxels % scales.size]
        if values[e] >= none:
            out[e] = math.inf
        elif squared != 0:
            out[e] = values[e] * scale * scale
        else:
            out[e] = math.sqrt(values[e]) * scale


@compiled
def store_coordinates(values, keys, none, stride, size, out):
    """One coordinate of each voxel's site; -1 where there is none."""
    for e in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        out[e] = -1 if values[e] >= none else keys[e] // stride % size
