"""What is measured on: real lesions that ship with the examples, and seeded synthetic images.

Everything here is reproducible on any machine: the same seeds, the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

LESIONS = Path(__file__).parent.parent / "examples" / "data" / "ms_lesions_flair.npz"


def lesions_3d(patient: str = "19", size: int = 128) -> np.ndarray:
    """White-matter lesions of one patient, 1 mm voxels, zero-padded and centred to a cube."""
    return _centred(_patient(patient), (size,) * 3)


def lesions_2d(count: int = 16, size: int = 256, patient: str = "19") -> np.ndarray:
    """The `count` axial slices with most lesion, zero-padded to squares: (count, size, size)."""
    volume = _patient(patient)
    most = np.sort(np.argsort(volume.sum((1, 2)))[-count:])
    return np.stack([_centred(volume[z], (size, size)) for z in most])


@cache
def _patient(patient: str) -> np.ndarray:
    with np.load(LESIONS) as file:
        return file[f"lesions_{patient}"].astype(np.uint8)


def _centred(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Cropped around the middle of its foreground and padded with zeros to `shape`."""
    cut = []
    for axis, size in enumerate(shape):
        others = tuple(a for a in range(image.ndim) if a != axis)
        present = np.flatnonzero(image.any(others))
        middle = (present[0] + present[-1]) // 2 if present.size else image.shape[axis] // 2
        start = min(max(0, middle - size // 2), max(0, image.shape[axis] - size))
        cut.append(slice(start, start + size))
    cropped = image[tuple(cut)]
    out = np.zeros(shape, image.dtype)
    offset = [(n - m) // 2 for n, m in zip(shape, cropped.shape, strict=True)]
    out[tuple(slice(o, o + m) for o, m in zip(offset, cropped.shape, strict=True))] = cropped
    return out


def smooth_noise(shape: Sequence[int], grain: int = 8, seed: int = 1) -> np.ndarray:
    """Float noise whose structures are about `grain` voxels wide."""
    coarse = [n // grain + 1 for n in shape]
    random = np.random.default_rng(seed).standard_normal(coarse).astype(np.float32)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(coarse)]
    size = tuple(shape)
    return interpolate(torch.from_numpy(random)[None, None], size=size, mode=mode)[0, 0].numpy()


def blobs(shape: Sequence[int], share: float = 0.3, grain: int = 8, seed: int = 1) -> np.ndarray:
    """Objects `grain` voxels and more in size that fill `share` of the image."""
    noise = smooth_noise(shape, grain, seed)
    return (noise > np.quantile(noise.ravel()[::7], 1 - share)).astype(np.uint8)


def vessels(shape: Sequence[int], seed: int = 2) -> np.ndarray:
    """Thin winding lines that branch over the image: where a smooth noise crosses zero."""
    wide = smooth_noise(shape, 64, seed)
    fine = smooth_noise(shape, 24, seed + 1)
    lines = (np.abs(wide) < 0.02) | (np.abs(fine) < 0.02)
    return lines.astype(np.uint8)


def specks(shape: Sequence[int], count: int = 12, seed: int = 4) -> np.ndarray:
    """A few small lesions, four voxels wide, anywhere."""
    random, mask = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for _ in range(count):
        corner = [int(random.integers(0, max(1, n - 3))) for n in shape]
        mask[tuple(slice(c, c + 4) for c in corner)] = 1
    return mask


def noise(shape: Sequence[int], share: float = 0.5, seed: int = 3) -> np.ndarray:
    """Each voxel foreground by itself, with probability `share`."""
    return (np.random.default_rng(seed).random(shape, np.float32) < share).astype(np.uint8)


def one_seed(shape: Sequence[int], where: float = 0.5) -> np.ndarray:
    """A single foreground voxel: at the centre, or at another fraction of each axis."""
    mask = np.zeros(shape, np.uint8)
    mask[tuple(min(int(n * where), n - 1) for n in shape)] = 1
    return mask


def classes(shape: Sequence[int], count: int = 5, grain: int = 16, seed: int = 10) -> np.ndarray:
    """Labels of `count` classes, each in many pieces: the largest of as many smooth noises."""
    best = smooth_noise(shape, grain, seed)
    labels = np.zeros(shape, np.uint8)
    for label in range(1, count):
        rival = smooth_noise(shape, grain, seed + label)
        labels[rival > best] = label
        np.maximum(best, rival, out=best)
    return labels


def _grid(shape):
    return np.indices(shape, sparse=True)


def _sphere(shape, low: float, high: float) -> np.ndarray:
    r = sum(((x - n / 2) / n) ** 2 for x, n in zip(_grid(shape), shape, strict=True))
    return ((r > low) & (r < high)).astype(np.uint8)


def _slanted(shape) -> np.ndarray:
    s = sum((a + 2) * x for a, x in enumerate(_grid(shape)))
    return (np.abs(s - int(s.max()) // 2) <= 2).astype(np.uint8)


def _comb(shape) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    teeth = np.unique((np.arange(64) * (np.arange(64) + 1)) // 2)
    mask[..., teeth[teeth < shape[-1]]] = 1
    return mask


def _line(shape, axis: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    where: list = [n // 3 for n in shape]
    where[axis] = slice(None)
    mask[tuple(where)] = 1
    return mask


def _diagonal(shape) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    steps = np.arange(min(shape))
    mask[tuple(steps for _ in shape)] = 1
    return mask


def _checkerboard(shape) -> np.ndarray:
    return np.ascontiguousarray(sum(_grid(shape)) % 2).astype(np.uint8)


ADVERSARIAL: dict[str, Callable[[Sequence[int]], np.ndarray]] = {
    "empty": lambda s: np.zeros(s, np.uint8),
    "full": lambda s: np.ones(s, np.uint8),
    "seed in a corner": lambda s: one_seed(s, 0),
    "seed in the far corner": lambda s: one_seed(s, 1),
    "seed in the centre": one_seed,
    "hole in the centre": lambda s: 1 - one_seed(s),
    "checkerboard": _checkerboard,
    "noise 50 %": noise,
    "noise 1 %": lambda s: noise(s, 0.01),
    "noise 0.01 %": lambda s: noise(s, 1e-4),
    "shell": lambda s: _sphere(s, 0.1, 0.11),
    "ball": lambda s: _sphere(s, -1, 0.2),
    "slanted plane": _slanted,
    "comb": _comb,
    "one row": lambda s: _line(s, -1),
    "one column": lambda s: _line(s, 0),
    "diagonal": _diagonal,
    "half": lambda s: np.broadcast_to(_grid(s)[0] < s[0] // 2, s).astype(np.uint8),
    "blobs": blobs,
    "large blobs": lambda s: blobs(s, 0.3, 64),
    "fine blobs": lambda s: blobs(s, 0.05, 4),
}
