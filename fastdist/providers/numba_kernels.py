# mypy: disallow-untyped-defs=False
"""Kernels of the provider ``numba``: rows, columns, and what becomes of a squared distance.

A separable transform. Rows turn labels into squared distances along the last axis; each further
axis is one pass f'(t) = min_i f(i) + w (t - i)^2 over all its columns. Three modes:

``ONE``    distance to the nearest voxel of class k;
``TWO``    each voxel's distance to the nearest voxel on the other side of "is of class k";
``MULTI``  each voxel's distance to the nearest voxel with another label.

The last two need one sweep. Along an axis, with run(t) the distance to the nearest voxel of another
side on the same line, f'(t) = min(w run(t)^2, min_i f(i) + w (t - i)^2) over *all* i, whatever
their side: an i of another side lies at or beyond the end of t's run, so it cannot beat the run.

Work is done in float32, float64 or int64, whichever holds all squared distances exactly (or, at
spacings that are not whole, accurately): ``numba_passes`` decides.
"""

from __future__ import annotations

import numpy as np

from fastdist.providers.numba_search import LANES, ROWS, WIDTH, compiled, load, search, store

ONE, TWO, MULTI = range(3)  # modes
KEEP, WHOLE, ROOT, SQUARE, SIGNED = range(5)  # what a pass stores: see `finish`
SCALE, INSIDE, OUTSIDE, CLIP, FACTOR, EMPTY, FULL = range(
    7
)  # columns of the parameters of `finish`

UNBOUNDED = 1 << 40  # length of a run that nothing ends
CHUNK = 4096  # voxels that `convert` takes at a time


@compiled
def _sides_of_row(line, mode, wanted, sides):
    """The labels of a row, or, but in mode MULTI, whether they are `wanted`. Are all the same?"""
    if mode == MULTI:
        for i in range(line.shape[0]):
            sides[i] = line[i]
    else:
        for i in range(line.shape[0]):
            sides[i] = line[i] == wanted
    found = sides[0] ^ sides[0]
    for i in range(line.shape[0]):
        found |= sides[i] ^ sides[0]
    return found == 0


@compiled
def rows(
    labels, repeat, first_class, work, items, weights, none, mode, border, first, last
):  # fmt: skip
    """Squared distances along the rows first <= r < last of all images.

    labels : [images / repeat, rows, n]; image m asks for class first_class + m % repeat of labels
    work : [images, rows, n]
    weights : [1 or images / items], squared spacings along the row
    border : does the image's edge end runs (in mode TWO: those of the class only)?
    """
    length, n = labels.shape[1:]
    real = work.dtype.type
    sides = np.empty(n, labels.dtype)
    steps = np.empty(n, np.int64)  # to the end of the run on the left, then to the nearer one
    for r in range(first, last):
        image = r // length
        row = work[image, r % length]
        line = labels[image // repeat, r % length]
        constant = _sides_of_row(line, mode, first_class + image % repeat, sides)
        weight = weights[min(image // items, weights.shape[0] - 1)]
        if constant and not border and not (mode == ONE and sides[0] == 1):
            for i in range(n):
                row[i] = none
            continue
        edge = 0 if border else UNBOUNDED
        if mode == ONE:
            run = edge
            for i in range(n):
                run = 0 if sides[i] == 1 else run + 1
                steps[i] = run
            run = edge
            for i in range(n - 1, -1, -1):
                run = 0 if sides[i] == 1 else run + 1
                steps[i] = min(steps[i], run)
        else:
            before = sides[0]
            run = edge if mode == MULTI or before == 1 else UNBOUNDED
            for i in range(n):
                run = run + 1 if sides[i] == before else 1
                before = sides[i]
                steps[i] = run
            run = edge if mode == MULTI or before == 1 else UNBOUNDED
            for i in range(n - 1, -1, -1):
                run = run + 1 if sides[i] == before else 1
                before = sides[i]
                steps[i] = min(steps[i], run)
        for i in range(n):
            distance = real(steps[i])
            row[i] = none if steps[i] >= UNBOUNDED else weight * distance * distance


@compiled
def _end_runs(sides, ahead, run, best, n, weight, none, everywhere, border):
    """best = min(best, squared distance along the column to the nearest voxel of another side).

    The border ends runs of side 1, or `everywhere` of all sides. ahead, run: scratch
    """
    one = best.dtype.type(1)
    unbounded = best.dtype.type(UNBOUNDED)
    end = np.uintp(n - 1) * WIDTH
    for lane in range(WIDTH):
        run[lane] = one if border and (everywhere or sides[lane] == 1) else unbounded
        ahead[lane] = run[lane]
    for t in range(n - 1):
        start = np.uintp(t) * WIDTH
        for lane in range(WIDTH):
            i = start + lane
            longer = run[lane] + one  # read before it is chosen, or the loop stays scalar
            longer = longer if sides[i] == sides[i + WIDTH] else one
            run[lane] = longer
            ahead[i + WIDTH] = longer
    for lane in range(WIDTH):
        run[lane] = one if border and (everywhere or sides[end + lane] == 1) else unbounded
        ahead[end + lane] = min(ahead[end + lane], run[lane])
    for t in range(n - 1):
        start = np.uintp(n - 2 - t) * WIDTH
        for lane in range(WIDTH):
            i = start + lane
            longer = run[lane] + one
            longer = longer if sides[i] == sides[i + WIDTH] else one
            run[lane] = longer
            ahead[i] = min(ahead[i], longer)
    for i in range(n * LANES):
        length = ahead[i]
        best[i] = min(best[i], none if length >= unbounded else weight * length * length)


@compiled
def finish(best, sides, line, kind, none, missing, parameters):
    """What becomes of squared distances.

    KEEP    nothing is done: a pass follows
    WHOLE   the squared distance itself; `missing` for none
    ROOT    scale times the root of the squared distance; `missing` for none
    SQUARE  scale^2 times the squared distance; `missing` for none
    SIGNED  outside root - OUTSIDE, inside INSIDE - root, clipped, times FACTOR; EMPTY or FULL
            for none: no voxel of the other side exists
    """
    real = parameters.dtype.type
    stored = line.dtype.type
    scale = parameters[SCALE]
    count = line.shape[0]
    if kind == WHOLE:
        for i in range(count):
            line[i] = missing if best[i] >= none else stored(best[i])
    elif kind == SQUARE:
        for i in range(count):
            square = stored(real(best[i]) * (scale * scale))
            line[i] = missing if best[i] >= none else square
    elif kind == ROOT:
        for i in range(count):
            root = stored(scale * np.sqrt(real(best[i])))
            line[i] = missing if best[i] >= none else root
    else:
        inner, outer = parameters[INSIDE], parameters[OUTSIDE]
        clip, factor = parameters[CLIP], parameters[FACTOR]
        empty, full = parameters[EMPTY], parameters[FULL]
        for i in range(count):
            inside = sides[i] == 1
            root = scale * np.sqrt(real(best[i]))
            value = inner - root if inside else root - outer
            value = min(max(value, -clip), clip) * factor
            constant = full if inside else empty
            line[i] = stored(constant if best[i] >= none else value)


@compiled
def columns(
    labels, repeat, first_class, work, items, costs, none, missing, mode, border, kind, parameters,
    first, last,
):  # fmt: skip
    """One axis of all images, in place: the tiles of columns first <= u < last.

    labels : [images / repeat, planes, n, width]; as for `rows`. In mode ONE only read for the sign
    work : [images, planes, n, width]
    costs : [1 or images / items, 2 c + 1], c a multiple of 8 and at least n; costs[., c + d] is
        the squared distance of d voxels
    none, missing : of the dtype of `work`
    kind, parameters : what is stored, see `finish`; parameters [1 or images / items, 7]
    """
    planes, n, width = work.shape[1:]
    tiles = (width + LANES - 1) // LANES
    blocks = (n + ROWS - 1) // ROWS
    group = max(ROWS, int(np.sqrt(blocks)))
    size = blocks * ROWS * LANES
    used = n * LANES
    sided = mode != ONE or kind == SIGNED
    source = np.full(size, none)
    best = np.zeros(size, work.dtype)
    ahead = np.empty(used if mode != ONE else 0, work.dtype)
    sides = np.zeros(used if sided else 0, labels.dtype)
    minima = np.empty(blocks * LANES, work.dtype)
    group_minima = np.empty((blocks + group - 1) // group * LANES, work.dtype)
    lowest = np.empty(LANES, work.dtype)
    top = np.empty(LANES, work.dtype)
    slop = work.dtype.type(0)
    for unit in range(first, last):
        image = unit // (tiles * planes)
        plane = unit // tiles % planes
        x = unit % tiles * LANES
        lanes = min(LANES, width - x)
        cost = costs[min(image // items, costs.shape[0] - 1)]
        weight = cost[cost.shape[0] // 2 + 1]
        if lanes < LANES:
            source[:used] = none
        load(work[image, plane], x, lanes, source)
        for i in range(used):  # lanes beyond the image are satisfied from the start
            best[i] = source[i] if i % LANES < lanes else 0
        if sided:
            load(labels[image // repeat, plane], x, lanes, sides)
            if mode != MULTI:
                wanted = first_class + image % repeat
                for i in range(used):
                    sides[i] = sides[i] == wanted
        if mode != ONE:
            _end_runs(sides, ahead, top, best, n, weight, none, mode == MULTI, border)
        elif border:
            for t in range(n):
                edge = cost[cost.shape[0] // 2 + min(t + 1, n - t)]
                for i in range(t * LANES, (t + 1) * LANES):
                    best[i] = min(best[i], edge)
        if n > 1:
            search(source, None, best, None, slop, cost, minima, group_minima, lowest, top)
        if kind != KEEP:
            line = parameters[min(image // items, parameters.shape[0] - 1)]
            finish(best[:used], sides, best[:used], kind, none, missing, line)
        store(best, work[image, plane], x, lanes)


@compiled
def convert(
    labels, repeat, first_class, work, items, kind, none, missing, parameters, out, first, last
):
    """Squared distances to an output of another dtype: the chunks of voxels first <= u < last.

    labels : [images / repeat, voxels]; only read where kind is SIGNED
    work, out : [images, voxels]; may be the same memory
    """
    voxels = work.shape[1]
    chunks = (voxels + CHUNK - 1) // CHUNK
    best = np.empty(CHUNK, work.dtype)
    sides = np.empty(CHUNK, np.uint8)
    for unit in range(first, last):
        image = unit // chunks
        start = unit % chunks * CHUNK
        end = min(start + CHUNK, voxels)
        line = work[image, start:end]
        for i in range(end - start):
            best[i] = line[i]
        if kind == SIGNED:
            label = labels[image // repeat, start:end]
            wanted = first_class + image % repeat
            for i in range(end - start):
                sides[i] = label[i] == wanted
        row = parameters[min(image // items, parameters.shape[0] - 1)]
        finish(best, sides, out[image, start:end], kind, none, missing, row)
