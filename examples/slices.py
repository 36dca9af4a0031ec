"""The demo's data: axial FLAIR slices of three MS patients, and augmentation on the fly.

The labels stay what they are on disk, one integer per pixel: they are flipped, turned and scaled
together with the image at every step, and the loss computes the signed distance maps of what
comes out. Maps prepared offline could not follow (a map scaled by 1.25 is 25 % wrong).
Attribution and licence of the images: data/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

DATA = Path(__file__).parent / "data" / "ms_lesions_flair.npz"
TRAINING = ("07", "19")
HELD_OUT = "26"
PATIENTS = (*TRAINING, HELD_OUT)
AIR = -4.0


class Patient(NamedTuple):
    """One volume as a stack of axial slices."""

    images: Tensor  # (slices, 1, H, W) float32: the brain around 0, what is not brain at AIR
    labels: Tensor  # (slices, H, W) uint8: 0 background, 1 lesion
    spacing: tuple[float, ...]  # mm between slices, rows, columns


def load_patient(name: str, path: Path = DATA) -> Patient:
    """Read one patient, the grey values relative to the brain's median: scanners have no unit."""
    with np.load(path) as file:
        flair = torch.from_numpy(file[f"flair_{name}"]).float()
        labels = torch.from_numpy(file[f"lesions_{name}"]).to(torch.uint8)
        spacing = tuple(float(step) for step in file["spacing"])
    images = AIR * (1.0 - flair / flair[flair > 0].median())
    return Patient(images[:, None], labels, spacing)


def training_slices(
    device: torch.device, training: Sequence[str] = TRAINING
) -> tuple[Tensor, Tensor]:
    """Images and labels of the training patients, without the slices that hold hardly any brain."""
    patients = [load_patient(name) for name in training]
    images = torch.cat([patient.images for patient in patients])
    labels = torch.cat([patient.labels for patient in patients])
    enough_brain = (images > AIR).float().mean(dim=(1, 2, 3)) > 0.05
    return images[enough_brain].to(device), labels[enough_brain].to(device)


def shuffled_batches(
    images: Tensor, labels: Tensor, batch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every slice once, in random order, each time augmented anew."""
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch].to(images.device)
        yield augment(images[chosen], labels[chosen], generator)


def augment(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, turn by up to 15 degrees, scale by 0.8 to 1.25; change brightness and contrast."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(len(images), generator=generator) * (high - low) + low

    angle = torch.deg2rad(uniform(-15.0, 15.0))
    zoom = torch.exp(uniform(-0.223, 0.223))
    mirror = torch.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0)
    height, width = images.shape[-2:]
    # The grid runs from -1 to 1 on both axes, so a rotation has to know the image's aspect.
    across, down = height / width, width / height
    rows = [
        torch.stack([mirror * angle.cos(), -angle.sin() * across], dim=1),
        torch.stack([mirror * angle.sin() * down, angle.cos()], dim=1),
    ]
    matrix = torch.stack(rows, dim=1) * zoom[:, None, None]  # (B, 2, 2)
    affine = torch.cat([matrix, torch.zeros(len(images), 2, 1)], dim=2).to(images.device)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)

    # Outside of the image there is air: shifted to zero, which is what grid_sample puts there.
    warped = functional.grid_sample(images - AIR, grid, align_corners=False) + AIR
    moved = functional.grid_sample(
        labels[:, None].float(), grid, mode="nearest", align_corners=False
    )
    gain = uniform(0.8, 1.2)[:, None, None, None].to(images.device)
    shift = uniform(-0.3, 0.3)[:, None, None, None].to(images.device)
    brain = warped > AIR + 0.5
    return torch.where(brain, warped * gain + shift, warped), moved[:, 0].to(labels.dtype)


def best_threshold(training: Sequence[str] = TRAINING) -> float:
    """The grey value that separates the training patients' lesions best: the trivial method."""
    thresholds = torch.tensor([step / 20 for step in range(60)])
    sum_of_dice = torch.zeros(len(thresholds))
    for patient in map(load_patient, training):
        lesion = patient.labels.flatten() == 1
        below = torch.bucketize(patient.images[:, 0].flatten(), thresholds)  # how many of them
        bright, found = (
            torch.bincount(values, minlength=len(thresholds) + 1).flip(0).cumsum(0).flip(0)[1:]
            for values in (below, below[lesion])
        )
        sum_of_dice += 2 * found / (bright + lesion.sum())
    return int(sum_of_dice.argmax()) / 20
