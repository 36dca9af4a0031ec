"""Real label maps: those that ship with the repository, and larger ones beside it where present."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parent.parent
SMALL = ROOT / "tests" / "data"
LARGE = ROOT.parent / "shared" / "data"
LARGE_MASKS = ("ms_lesion_p01", "bigbrain_subcortical", "landmask_indonesia_4096", "chase_vessels")


class Labels(NamedTuple):
    """A batch of label images and the distance between neighbouring voxels, in array order."""

    image: np.ndarray  # (n, *S) integers
    spacing: tuple[float, ...]

    @property
    def mask(self) -> np.ndarray:
        """The foreground: any label but 0."""
        return (self.image != 0).astype(np.uint8)

    def consecutive(self, most: int) -> tuple[np.ndarray, int]:
        """The labels renumbered from 0, at most so many classes: the rest become background."""
        found, image = np.unique(self.image, return_inverse=True)
        image = image.reshape(self.image.shape)
        count = min(len(found), most)
        return np.where(image < count, image, 0).astype(np.uint8), count


def small() -> dict[str, Path]:
    """The maps in tests/data, by name."""
    return {path.stem: path for path in sorted(SMALL.glob("*.npz"))}


def large() -> dict[str, Path]:
    """Those beside the repository; none where it stands alone."""
    found = {name: LARGE / f"{name}.npz" for name in LARGE_MASKS}
    return {name: path for name, path in found.items() if path.exists()}


@lru_cache(maxsize=2)
def load(path: Path) -> Labels:
    with np.load(path) as file:
        spacing = tuple(float(h) for h in file["spacing"])
        image = file["labels"]
    if image.ndim == len(spacing):
        image = image[None]
    return Labels(np.ascontiguousarray(image), spacing)
