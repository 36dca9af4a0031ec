# mypy: disallow-untyped-defs=False
"""Kernels of the provider ``numba``: one pass, best(t) = min_i source(i) + cost(t - i), for a tile.

A tile is LANES adjacent columns, copied to flat buffers: row t is buffer[t * LANES : (t + 1) *
LANES]. Rows up to a multiple of ROWS are filled up: with sources of "none" (a number so large that
it never wins, yet finite, so that no infinity is ever added or compared) and with targets of 0,
which are satisfied.

All kernels release the GIL and work on a range of units, so that ordinary threads share a pass.
Numba's own ``parallel=True`` is left alone: its pools abort or hang in a forked child, the default
one also where two threads call at once, and it compiles everything twice over.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

LANES = 32  # of 16, 32 and 64 the best on 128^3 and 256^3, AVX-512
ROWS = 8  # rows of a block
NEAR = 2  # sources so many rows away are tried before blocks are

# Indices that cannot be negative spare the test for it, which would keep loops from vectors.
WIDTH, BLOCK, EIGHT = np.uintp(LANES), np.uintp(LANES * ROWS), np.uintp(ROWS)
STEP1, STEP2, STEP3, STEP4 = (np.uintp(i) for i in range(1, 5))
ROW1, ROW2, ROW3, ROW4 = (np.uintp(i * LANES) for i in range(1, 5))


def none_of(dtype: np.dtype) -> float | int:
    """The squared distance that stands for "none": added to a distance it does not overflow."""
    return {"f4": 2.0**126, "f8": 2.0**1000, "i8": 2**62}[np.dtype(dtype).str[1:]]


def compiled(function):
    """Compile when first called, for the types of that call; keep the result on disk."""
    options: Any = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no directory for the cache can be written to
        return numba.njit(**options)(function)


@compiled
def _bound(best, t, slop, lowest, top):
    """top = per lane, the largest of block t of `best`; how far the worst lane may still sink."""
    start = np.uintp(t) * BLOCK
    for lane in range(WIDTH):
        i = start + lane
        a = max(max(best[i], best[i + ROW1]), max(best[i + ROW2], best[i + ROW3]))
        i += ROW4
        b = max(max(best[i], best[i + ROW1]), max(best[i + ROW2], best[i + ROW3]))
        top[lane] = max(a, b) + slop
    a = b = best.dtype.type(0)
    for lane in range(0, LANES, 2):  # two chains: the compiler does not reorder a maximum of floats
        a = max(a, top[lane] - lowest[lane])
        b = max(b, top[lane + 1] - lowest[lane + 1])
    return max(a, b)


@compiled
def _promising(minima, s, near, top):
    """Can a block with these minima, `near` away or farther, improve any lane?"""
    start = np.uintp(s) * WIDTH
    found = 0
    for lane in range(WIDTH):
        found |= minima[start + lane] + near < top[lane]
    return found != 0


@compiled
def _relax(source, s, best, t, costs):
    """best of block t by the rows of block s: 8 x 8 candidates a lane, in registers."""
    f, b = np.uintp(s) * BLOCK, np.uintp(t) * BLOCK
    near = np.uintp(costs.shape[0] // 2 + ROWS * (t - s) - (ROWS - 1))
    for lane in range(WIDTH):
        i = f + lane
        f0, f1, f2, f3 = source[i], source[i + ROW1], source[i + ROW2], source[i + ROW3]
        i += ROW4
        f4, f5, f6, f7 = source[i], source[i + ROW1], source[i + ROW2], source[i + ROW3]
        for j in range(EIGHT):
            i = b + j * WIDTH + lane
            c = near + j
            low = best[i]
            low = min(min(low, f7 + costs[c]), f6 + costs[c + STEP1])
            low = min(min(low, f5 + costs[c + STEP2]), f4 + costs[c + STEP3])
            c += STEP4
            low = min(min(low, f3 + costs[c]), f2 + costs[c + STEP1])
            best[i] = min(min(low, f1 + costs[c + STEP2]), f0 + costs[c + STEP3])


@compiled
def _relax_sites(source, source_keys, s, best, best_keys, t, costs):
    """The same where equal distances are told apart by the smaller key."""
    f, b = np.uintp(s) * BLOCK, np.uintp(t) * BLOCK
    near = np.uintp(costs.shape[0] // 2 + ROWS * (t - s))
    for j in range(EIGHT):
        for lane in range(WIDTH):
            to = b + j * WIDTH + lane
            low, low_key = best[to], best_keys[to]
            for i in range(EIGHT):
                candidate = source[f + i * WIDTH + lane] + costs[near + j - i]
                key = source_keys[f + i * WIDTH + lane]
                better = (candidate < low) | ((candidate == low) & (key < low_key))
                low = candidate if better else low
                low_key = key if better else low_key
            best[to], best_keys[to] = low, low_key


@compiled
def _lower(source, blocks, group, minima, group_minima, lowest):
    """Per lane, the least of each block of 8 rows, of each group of blocks, and of all rows."""
    for block in range(blocks):
        start, to = np.uintp(block) * BLOCK, np.uintp(block) * WIDTH
        over = np.uintp(block // group) * WIDTH
        first = block % group == 0
        for lane in range(WIDTH):
            i = start + lane
            a = min(min(source[i], source[i + ROW1]), min(source[i + ROW2], source[i + ROW3]))
            i += ROW4
            b = min(min(source[i], source[i + ROW1]), min(source[i + ROW2], source[i + ROW3]))
            a = min(a, b)
            minima[to + lane] = a
            b = group_minima[over + lane]
            group_minima[over + lane] = a if first else min(a, b)
            b = lowest[lane]
            lowest[lane] = a if block == 0 else min(a, b)


@compiled
def _adjacent(source, best, height, k, cost):
    """best by the sources k rows before and after."""
    shift = np.uintp(k) * WIDTH
    count = np.uintp(height - k) * WIDTH
    for i in range(count):
        best[i] = min(best[i], source[i + shift] + cost)
    for i in range(count):
        best[i + shift] = min(best[i + shift], source[i] + cost)


@compiled
def search(source, source_keys, best, best_keys, slop, costs, minima, group_minima, lowest, top):
    """best(t) = min(best(t), min_i source(i) + cost(t - i)) for one tile of columns.

    First the sources at most NEAR rows away, which is all that noise needs. Then blocks of 8 rows
    of sources: the one that is the block of targets itself, the one that served the block of
    targets before (an early, good bound), and the others outward, group by group. A block or a
    group is skipped where its minimum and its distance promise nothing to any lane. The groups of
    about sqrt(n / 8) blocks keep axes of many thousands from a cost of n a voxel.

    With keys, ties have to be seen: `slop` is then what two different distances differ by.
    """
    blocks = minima.shape[0] // LANES
    groups = group_minima.shape[0] // LANES
    group = (blocks + groups - 1) // groups
    centre = costs.shape[0] // 2
    near_rows = 0
    if source_keys is None:
        near_rows = NEAR
        for k in range(1, NEAR + 1):
            _adjacent(source, best, blocks * ROWS, k, costs[centre + k])
    _lower(source, blocks, group, minima, group_minima, lowest)
    served = 0
    for t in range(blocks):
        slack = _bound(best, t, slop, lowest, top)
        if slack <= costs[centre + near_rows + 1]:
            continue
        hint = served
        served = t
        home = t // group
        alive = True
        for visit in range(-2, 2 * groups):
            if visit == -2:
                s, step, end = t, 1, t + 1
            elif visit == -1:
                s, step, end = hint, 1, hint + 1
            else:
                k = visit // 2
                if visit % 2 == 0:
                    if not alive:
                        break
                    alive = k == 0
                    g = home - k
                    s, step, end = min(t - 1, group * (g + 1) - 1), -1, group * g - 1
                else:
                    g = home + k
                    s, step, end = max(t + 1, group * g), 1, min(blocks, group * (g + 1))
                if g < 0 or g >= groups:
                    continue
                if k > 0:
                    near = costs[centre + ROWS * abs(t - s) - (ROWS - 1)]
                    if near >= slack:
                        continue
                    alive = True
                    if not _promising(group_minima, g, near, top):
                        continue
            while s != end:
                near = costs[centre + (near_rows + 1 if s == t else ROWS * abs(t - s) - (ROWS - 1))]
                if near >= slack:
                    break
                if _promising(minima, s, near, top):
                    if source_keys is None:
                        _relax(source, s, best, t, costs)
                    else:
                        _relax_sites(source, source_keys, s, best, best_keys, t, costs)
                    before = slack
                    slack = _bound(best, t, slop, lowest, top)
                    if slack < before:
                        served = s
                s += step


@compiled
def load(plane, x, lanes, tile):
    """One tile of columns into a flat buffer."""
    for t in range(plane.shape[0]):
        start = np.uintp(t) * WIDTH
        line = plane[t, x : x + lanes]
        if lanes == LANES:
            for lane in range(WIDTH):
                tile[start + lane] = line[lane]
        else:
            for lane in range(np.uintp(lanes)):
                tile[start + lane] = line[lane]


@compiled
def store(tile, plane, x, lanes):
    """One tile of columns back to where it belongs."""
    for t in range(plane.shape[0]):
        start = np.uintp(t) * WIDTH
        line = plane[t, x : x + lanes]
        if lanes == LANES:
            for lane in range(WIDTH):
                line[lane] = tile[start + lane]
        else:
            for lane in range(np.uintp(lanes)):
                line[lane] = tile[start + lane]
