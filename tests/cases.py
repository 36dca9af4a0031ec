"""The one table of adversarial inputs, crossed with shapes, that every test draws from.

A pattern names the set of *sites*: the voxels distances are measured to. For an unsigned transform
they are the zeros of the mask, for a signed map they are the object.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import oracles


def _grid(shape):
    return np.indices(shape, sparse=True)


def _rng(shape, salt: str):
    return np.random.default_rng(zlib.crc32(repr((shape, salt)).encode()))


def _at(shape, position):
    sites = np.zeros(shape, bool)
    if sites.size:
        sites[tuple(position)] = True
    return sites


def _shell(shape):
    # An ellipsoidal shell: rounding and ties at every slope.
    r = sum(
        ((x - (n - 1) / 2) / max(n / 2, 1)) ** 2 for x, n in zip(_grid(shape), shape, strict=True)
    )
    return np.broadcast_to((r > 0.45) & (r < 0.75), shape).copy()


def _plane(shape):
    # A slanted plane: the nearest site changes at every voxel.
    s = sum((a + 2) * x for a, x in enumerate(_grid(shape)))
    middle = sum((a + 2) * n for a, n in enumerate(shape)) // 2
    return np.broadcast_to(np.abs(s - middle) <= len(shape), shape).copy()


def _comb(shape):
    # Teeth along the last axis, joined nowhere: runs of every length from one to many.
    sites = np.zeros(shape, bool)
    teeth = np.unique((np.arange(64) * (np.arange(64) + 1)) // 2)
    sites[..., teeth[teeth < shape[-1]]] = True
    return sites


def _line(shape, axis):
    sites = np.zeros(shape, bool)
    where = [n // 3 for n in shape]
    where[axis] = slice(None)
    if sites.size:
        sites[tuple(where)] = True
    return sites


def blobs(shape):
    # Smooth random objects: box sums of noise, above their median.
    noise = _rng(shape, "blobs").standard_normal(shape)
    for axis in range(len(shape)):
        noise = sum(np.roll(noise, k, axis) for k in range(-2, 3))
    return noise > np.median(noise) if noise.size else noise > 0


_blobs = blobs  # its name in test_numba_provider.py

PATTERNS = {
    "none": lambda s: np.zeros(s, bool),
    "all": lambda s: np.ones(s, bool),
    "first corner": lambda s: _at(s, [0] * len(s)),
    "last corner": lambda s: _at(s, [-1] * len(s)),
    "centre": lambda s: _at(s, [n // 2 for n in s]),
    "all but the centre": lambda s: ~_at(s, [n // 2 for n in s]),
    "checkerboard": lambda s: np.broadcast_to(sum(_grid(s)) % 2 == 0, s).copy(),
    "noise 50 %": lambda s: _rng(s, "half").random(s) < 0.5,
    "noise 3 %": lambda s: _rng(s, "some").random(s) < 0.03,
    "noise 1e-4": lambda s: _rng(s, "few").random(s) < 1e-4,
    "shell": _shell,
    "slanted plane": _plane,
    "comb": _comb,
    "one row": lambda s: _line(s, -1),
    "one column": lambda s: _line(s, 0),
    "half": lambda s: np.broadcast_to(_grid(s)[0] < (s[0] + 1) // 2, s).copy(),
    "blobs": blobs,
}

SHAPES_1D = [(0,), (1,), (2,), (31,), (32,), (33,), (63,), (64,), (65,), (127,), (129,), (1031,)]
SHAPES_2D = [
    (0, 5), (5, 0), (1, 1), (1, 65), (65, 1), (31, 33), (32, 32), (33, 31), (63, 64), (65, 129),
    (127, 37), (3, 1031), (1031, 3),
]  # fmt: skip
SHAPES_3D = [
    (2, 0, 3), (1, 1, 1), (1, 1, 65), (1, 65, 1), (65, 1, 1), (7, 31, 33), (9, 32, 65),
    (33, 9, 17), (64, 3, 5), (5, 129, 2), (17, 19, 23),
]  # fmt: skip
SHAPES = SHAPES_1D + SHAPES_2D + SHAPES_3D
SMALL_SHAPES = [(33,), (1, 7), (31, 33), (12, 13), (7, 9, 11), (5, 1, 17)]

# Random dense inputs small enough for all pairs: most voxels have several equally near sites.
TIE_SHAPES = [(7,), (64,), (5, 6), (9, 9), (16, 33), (3, 70), (4, 5, 6), (7, 7, 7), (3, 9, 20)]

INTEGER_SAMPLINGS = {
    1: [(1,), (3,)],
    2: [(1, 1), (2, 1), (3, 5)],
    3: [(1, 1, 1), (3, 1, 1), (2, 3, 5)],
}
FLOAT_SAMPLINGS = {
    1: [(0.7,), (40.0,)],
    2: [(0.8, 0.46875), (1.0, 1.001), (1e-3, 2.5e3)],
    3: [(3.3, 0.58594, 0.58594), (40.0, 32.0, 32.0), (0.8, 0.46875, 0.46875), (1e3, 1.0, 1e-3)],
}


@dataclass(frozen=True)
class Case:
    """One pattern in one shape."""

    pattern: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.pattern.replace(' ', '-')}-{'x'.join(map(str, self.shape))}"

    @property
    def sites(self) -> np.ndarray:
        """bool, True at the sites; read-only, shared by all tests."""
        return _sites(self.pattern, self.shape)

    @property
    def mask(self) -> np.ndarray:
        """The mask whose zeros are the sites."""
        return ~self.sites

    def squared(self, border: bool = False) -> np.ndarray:
        """Exact squared distances to the sites at unit spacing; computed once for all providers."""
        return _squared(self.pattern, self.shape, border)


@cache
def _sites(pattern: str, shape: tuple[int, ...]) -> np.ndarray:
    sites = np.ascontiguousarray(PATTERNS[pattern](shape))
    assert (sites.shape, sites.dtype) == (shape, bool)
    sites.flags.writeable = False
    return sites


@cache
def _squared(pattern: str, shape: tuple[int, ...], border: bool) -> np.ndarray:
    squared = oracles.sweeps_squared(_sites(pattern, shape), border=border)
    squared.flags.writeable = False
    return squared


def table(shapes=SHAPES) -> list[Case]:
    """Every pattern in every shape; patterns that coincide in tiny shapes appear once."""
    chosen, seen = [], set()
    for shape in shapes:
        for pattern in PATTERNS:
            case = Case(pattern, shape)
            key = (shape, case.sites.tobytes())
            if key not in seen:
                seen.add(key)
                chosen.append(case)
    return chosen


ALL = table()
SMALL = table(SMALL_SHAPES)
