"""Independent oracles: what is right, computed slowly and without fastdist.

Everything here is NumPy written from the definitions (design 4), so that a test compares two
derivations and never the code with itself. Two brute forces answer every question, and
`test_oracles.py` holds them against each other and against SciPy:

* *pairs*: every voxel against every site. Knows which site is nearest, ties included.
* *sweeps*: one min-plus product per axis. For dense inputs, where pairs would take too long.
"""

from __future__ import annotations

from itertools import product

import numpy as np

NO_SITE = np.iinfo(np.int64).max  # squared distance where no site exists at all
_CHUNK = 1 << 22  # elements of one temporary


# ------------------------------------------------------------------ distances to sites


def as_sampling(sampling, ndim: int) -> np.ndarray:
    """Spacing per axis as float64, ones by default, a number for every axis."""
    values = np.ones(ndim) if sampling is None else np.asarray(sampling, np.float64)
    return np.broadcast_to(values, (ndim,)).copy()


def _is_integral(sampling: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether int64 holds every squared distance exactly."""
    whole = bool((sampling == np.rint(sampling)).all())
    return whole and float(((np.asarray(shape) * sampling) ** 2).sum()) < 2.0**59


def with_outside(sites: np.ndarray) -> np.ndarray:
    """The image with one layer of sites around it: the nearest voxels of everything outside."""
    return np.pad(sites, 1, constant_values=True)


def _inner(array: np.ndarray, ndim: int) -> np.ndarray:
    return array[(Ellipsis,) + (slice(1, -1),) * ndim]


def sweeps_squared(sites: np.ndarray, sampling=None, border: bool = False) -> np.ndarray:
    """Squared distance of every voxel to the nearest site by one min-plus product per axis.

    int64 and exact where the sampling is integral (`NO_SITE` without any site), else float64 (inf).
    """
    sites = np.asarray(sites, bool)
    if border:
        return _inner(sweeps_squared(with_outside(sites), sampling), sites.ndim)
    steps = as_sampling(sampling, sites.ndim)
    exact = _is_integral(steps, sites.shape)
    far = 1 << 61 if exact else np.inf
    squared = np.where(sites, 0, far).astype(np.int64 if exact else np.float64)
    for axis, step in enumerate(steps):
        n = squared.shape[axis]
        if squared.size == 0 or n == 1:
            continue
        offset = np.arange(n)[:, None] - np.arange(n)[None, :]
        cost = (offset.astype(squared.dtype) * squared.dtype.type(step)) ** 2  # [to, from]
        lines = np.moveaxis(squared, axis, -1).reshape(-1, n)
        best = np.empty_like(lines)
        rows = max(1, _CHUNK // (n * n))
        targets = max(1, _CHUNK // (n * rows))
        for i in range(0, len(lines), rows):
            for t in range(0, n, targets):
                candidates = lines[i : i + rows, None, :] + cost[None, t : t + targets, :]
                best[i : i + rows, t : t + targets] = candidates.min(-1)
        moved = np.moveaxis(squared, axis, -1)
        squared = np.moveaxis(best.reshape(moved.shape), -1, axis)
    squared = np.ascontiguousarray(squared)
    if exact:
        squared[squared >= 1 << 60] = NO_SITE
    return squared


def sites_in_tie_order(sites: np.ndarray) -> np.ndarray:
    """Coordinates [S, ndim] of the sites, those that win a tie first.

    SciPy's rule: the smallest coordinate on the last axis, then on the one before it, axis 0 last.
    """
    found = np.argwhere(sites)
    return found[np.lexsort(tuple(found.T))] if len(found) else found


def pairs(sites: np.ndarray, sampling=None) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance to the nearest site and its coordinates, over all pairs.

    Returns (squared, indices [ndim, *shape] int64); `NO_SITE` or inf, and -1, without any site.
    """
    sites = np.asarray(sites, bool)
    steps = as_sampling(sampling, sites.ndim)
    exact = _is_integral(steps, sites.shape)
    dtype = np.int64 if exact else np.float64
    found = sites_in_tie_order(sites)
    squared = np.full(sites.size, NO_SITE if exact else np.inf, dtype)
    indices = np.full((sites.ndim, sites.size), -1, np.int64)
    if len(found) and sites.size:
        voxels = np.indices(sites.shape).reshape(sites.ndim, -1)
        rows = max(1, _CHUNK // len(found))
        for i in range(0, sites.size, rows):
            part = voxels[:, i : i + rows]
            d = np.zeros((part.shape[1], len(found)), dtype)
            for axis in range(sites.ndim):
                offset = (part[axis][:, None] - found[:, axis][None, :]).astype(dtype)
                d += (offset * dtype(steps[axis])) ** 2
            winner = d.argmin(1)  # the first of equals: sites are in tie order
            squared[i : i + rows] = d[np.arange(len(winner)), winner]
            indices[:, i : i + rows] = found[winner].T
    return squared.reshape(sites.shape), indices.reshape((sites.ndim, *sites.shape))


def few_sites_squared(shape: tuple[int, ...], found) -> np.ndarray:
    """Exact int64 squared distances at unit spacing to a few sites: for images of any size."""
    best = np.full(shape, NO_SITE, np.int64)
    for site in found:
        d = np.zeros((1,) * len(shape), np.int64)
        for axis, position in enumerate(site):
            line = (np.arange(shape[axis], dtype=np.int64) - position) ** 2
            d = d + line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        np.minimum(best, d, out=best)
    return best


def root(squared: np.ndarray) -> np.ndarray:
    """float64 distances, inf without a site."""
    distances = np.sqrt(squared.astype(np.float64))
    if squared.dtype.kind == "i":
        distances[squared == NO_SITE] = np.inf
    return distances


def distance_to(sites: np.ndarray, sampling=None, border: bool = False) -> np.ndarray:
    """float64 distance of every voxel to the nearest site; inf without any."""
    return root(sweeps_squared(sites, sampling, border))


# ------------------------------------------------------------------ labels


def label_distance(labels: np.ndarray, sampling=None, border: bool = False) -> np.ndarray:
    """float64 distance of every voxel to the nearest voxel of a different label."""
    out = np.full(labels.shape, np.inf)
    for value in np.unique(labels):
        own = labels == value
        out[own] = distance_to(~own, sampling, border)[own]
    return out


# ------------------------------------------------------------------ signed maps


def diagonal(shape, sampling=None) -> float:
    """Physical length of the image's diagonal, sqrt(sum (n_i h_i)^2)."""
    return float(np.sqrt(((np.asarray(shape) * as_sampling(sampling, len(shape))) ** 2).sum()))


def inner_boundary(fg: np.ndarray, bg: np.ndarray, border: bool = False) -> np.ndarray:
    """Foreground voxels touching the background, corners count (outside too, with `border`)."""
    padded = np.pad(bg, 1, constant_values=border)
    touches = np.zeros_like(fg)
    for steps in product((-1, 0, 1), repeat=fg.ndim):
        touches |= _inner(np.roll(padded, steps, range(fg.ndim)), fg.ndim)
    return fg & touches


def _constant(value, sign: int, shape, sampling) -> float:
    # None is how the operators spell "diagonal" (its sign is the case's).
    if value is None or isinstance(value, str):
        assert value in (None, "diagonal")
        return sign * diagonal(shape, sampling)
    return float(value)


def signed_map(
    fg: np.ndarray,
    bg: np.ndarray | None = None,
    sampling=None,
    *,
    zero: str = "shifted",
    normalize: str | None = None,
    clip: float | None = None,
    empty=0.0,
    full=0.0,
    border: bool = False,
) -> np.ndarray:
    """The signed map of one class in one image in float64 (design 4.4).

    `bg` is the complement of `fg` unless given; voxels in neither are ignored.
    """
    fg = np.asarray(fg, bool)
    bg = ~fg if bg is None else np.asarray(bg, bool)
    assert not (fg & bg).any()
    known = fg | bg
    steps = as_sampling(sampling, fg.ndim)
    h = steps.min() if fg.ndim else 1.0
    if not known.any():
        return np.zeros(fg.shape)
    if not fg.any():
        return np.where(known, _constant(empty, +1, fg.shape, steps), 0.0)
    if not bg.any() and not border:
        return np.where(known, _constant(full, -1, fg.shape, steps), 0.0)

    to_fg = distance_to(fg, steps)
    to_bg = distance_to(bg, steps, border)
    inside_is_constant = False
    if zero == "inner":
        edge = inner_boundary(fg, bg, border)
        inside_is_constant = not edge.any()
        inside, outside = -distance_to(edge, steps), to_fg
    else:
        shift = {"shifted": h, "unit": 1.0, "midpoint": h / 2, "none": 0.0}[zero]
        inside, outside = -(to_bg - shift), to_fg - (h / 2 if zero == "midpoint" else 0.0)
    if inside_is_constant:
        inside = np.zeros(fg.shape)
    if clip is not None:
        inside, outside = np.clip(inside, -clip, clip), np.clip(outside, -clip, clip)
    if normalize == "max":
        biggest = np.abs(inside[fg]).max()
        inside = inside / biggest if biggest > 0 else inside
        if bg.any():
            biggest = np.abs(outside[bg]).max()
            outside = outside / biggest if biggest > 0 else outside
    elif normalize == "diagonal":
        inside, outside = (part / diagonal(fg.shape, steps) for part in (inside, outside))
    else:
        assert normalize in (None, "none")
    if inside_is_constant:
        inside = np.full(fg.shape, _constant(full, -1, fg.shape, steps))
    return np.where(fg, inside, np.where(bg, outside, 0.0)) + 0.0  # no negative zero


def signed_maps_of_labels(
    labels: np.ndarray, num_classes: int, sampling=None, *, ignore_index=None, first_class=0, **kw
) -> np.ndarray:
    """Maps [B, C - first_class, *S] of class indices [B, *S]; `sampling` may be [B, ndim]."""
    steps = None if sampling is None else np.asarray(sampling, np.float64)
    maps = np.zeros((len(labels), num_classes - first_class, *labels.shape[1:]))
    for item, image in enumerate(labels):
        own = steps[item] if steps is not None and steps.ndim == 2 else steps
        known = np.ones(image.shape, bool) if ignore_index is None else image != ignore_index
        for j, k in enumerate(range(first_class, num_classes)):
            is_class = (image == k) & known
            maps[item, j] = signed_map(is_class, known & ~is_class, own, **kw)
    return maps


def tolerance(expected: np.ndarray, relative: float, sampling=1.0) -> np.ndarray:
    """Room for rounding: relative to the distance before a shift took part of it away."""
    return relative * (np.abs(expected) + np.max(np.asarray(sampling, np.float64)))
