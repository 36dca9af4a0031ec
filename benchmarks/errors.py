"""What goes wrong with distance maps that are not computed exactly, from the label of the step.

Four maps of the same lesions: exact; kornia's approximation; the exact one truncated to integers,
as a map stored in an integer file is; and the exact map of the label before augmentation, warped
with it by a scaling of 1.25, where distances grow and the stored numbers do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

import fastdist
from benchmarks import inputs, peers

SCALE = 1.25


class Map(NamedTuple):
    """A map and the exact one it should be."""

    got: np.ndarray
    exact: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Absolute error, in pixels."""
        return np.abs(self.got - self.exact)

    def summary(self) -> dict[str, float]:
        """The mean relative error where the distance is at least 1, and the largest error."""
        far = np.abs(self.exact) >= 1
        relative = self.error[far] / np.abs(self.exact[far])
        return {"mean_relative": float(relative.mean()), "max": float(self.error.max())}


def lesions(size: int = 160) -> np.ndarray:
    """The axial slice of a patient with most lesion."""
    return inputs.lesions_2d(1, size)[0]


def maps() -> dict[str, Map]:
    """By name; kornia's only where it is installed."""
    mask = torch.from_numpy(lesions())
    exact = _signed(mask)
    scaled = _scaled(mask[None, None].float(), "nearest")[0, 0] > 0.5
    cached = _scaled(torch.from_numpy(exact)[None, None], "bilinear")[0, 0].numpy()
    found = {"exact": Map(exact, exact)}
    if (kornia := peers.module("kornia")) is not None:
        image = mask[None, None].float()
        outer, inner = (kornia.contrib.distance_transform(m)[0, 0] for m in (image, 1 - image))
        found["kornia"] = Map((outer - (inner - 1) * mask).numpy(), exact)
    found["truncated to integers"] = Map(np.trunc(exact), exact)
    found[f"cached, warped by {SCALE}"] = Map(cached, _signed(scaled))
    return found


def _signed(mask: Tensor) -> np.ndarray:
    return fastdist.signed_distance(mask, ndim=2).numpy()


def _scaled(image: Tensor, mode: str) -> Tensor:
    """Enlarged about the centre, as augmentation does to an image and its label."""
    turn = torch.tensor([[[1 / SCALE, 0.0, 0.0], [0.0, 1 / SCALE, 0.0]]])
    grid = affine_grid(turn, list(image.shape), align_corners=False)
    return grid_sample(image, grid, mode, padding_mode="border", align_corners=False)
