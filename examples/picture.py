"""One picture of the held-out patient: image, label, signed map with its zero level, prediction."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws into files, needs no screen

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from torch import Tensor

import fastdist
from examples import evaluation
from examples.slices import Patient

LABEL, FOUND = "#ffb000", "#00c8ff"


def draw(patient: Patient, prediction: Tensor, settings: argparse.Namespace, file: Path) -> None:
    """Draw the slice with most lesion pixels; `prediction` is bool (slices, H, W)."""
    truth = patient.labels == 1
    index = shown_slice(truth)
    rows, columns = brain_box(patient.images[index, 0])
    image = patient.images[index, 0, rows, columns].clamp(-2.5, 2.5)
    label, found = truth[index, rows, columns], prediction[index, rows, columns]
    clip = settings.clip if math.isfinite(settings.clip) else None
    signed = fastdist.signed_distance(truth[index], ndim=2, zero=settings.zero, clip=clip)
    signed = signed[rows, columns]  # of the whole slice, as in training, and then cropped
    # Two slopes: inside of lesions the map reaches a few mm, outside it reaches across the brain.
    low, high = min(math.floor(signed.min().item()), -1), math.ceil(signed.max().item())
    slopes = TwoSlopeNorm(0.0, vmin=low, vmax=high)

    figure, axes = plt.subplots(1, 4, figsize=(14.5, 5.6), layout="constrained")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.imshow(image, cmap="gray")
    axes[0].set_title("FLAIR image, held-out patient")
    axes[1].set_title("label")
    paint(axes[1], label, LABEL)
    axes[2].set_title("signed distance (mm) and its zero level")
    shown = axes[2].imshow(signed, cmap="RdBu", norm=slopes)
    axes[2].contour(signed, levels=[0.0], colors="black", linewidths=0.8)
    ticks = [low, 0, high // 2, high]
    below = axes[2].inset_axes((0.05, -0.07, 0.9, 0.035))
    figure.colorbar(shown, cax=below, orientation="horizontal", ticks=ticks)
    axes[3].set_title("prediction, label outlined\n" + scores(prediction, truth))
    paint(axes[3], found, FOUND)
    axes[3].contour(label.float(), levels=[0.5], colors=LABEL, linewidths=1.0)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def scores(prediction: Tensor, truth: Tensor) -> str:
    """Dice of the slice that is drawn and of the volume: the former is no measure of the latter."""
    volume, drawn = evaluation.dice(prediction, truth), dice_of_shown_slice(prediction, truth)
    return f"Dice: this slice {drawn:.2f}, volume {volume:.2f}"


def dice_of_shown_slice(prediction: Tensor, truth: Tensor) -> float:
    """Dice of all of the slice that is drawn."""
    index = shown_slice(truth)
    return evaluation.dice(prediction[index], truth[index])


def shown_slice(truth: Tensor) -> int:
    """The slice with most lesion pixels."""
    return int(truth.sum(dim=(1, 2)).argmax())


def brain_box(image: Tensor) -> tuple[slice, slice]:
    """Rows and columns that hold brain."""
    brain = image > image.min()
    rows, columns = (brain.any(dim=other).nonzero() for other in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def paint(axis: plt.Axes, mask: Tensor, colour: str) -> None:
    """Lay a translucent colour over the pixels of a mask."""
    layer = torch.where(mask, 1.0, math.nan)
    axis.imshow(layer, cmap=ListedColormap([colour]), alpha=0.75, interpolation="nearest")
