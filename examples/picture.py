"""One picture of the held-out patient: image, label, signed map with its zero level, prediction."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws into files, needs no screen

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap
from torch import Tensor

import fastdist
from examples import evaluation
from examples.slices import Patient

LABEL, FOUND = "#ffb000", "#00c8ff"


def draw(patient: Patient, prediction: Tensor, settings: argparse.Namespace, file: Path) -> None:
    """Draw the slice with most lesion pixels; `prediction` is bool (slices, H, W)."""
    truth = patient.labels == 1
    index = int(truth.sum(dim=(1, 2)).argmax())
    image = patient.images[index, 0].clamp(-2.5, 2.5)
    label, found = truth[index], prediction[index]
    signed = fastdist.signed_distance(label, ndim=2, zero=settings.zero)
    if math.isfinite(settings.clip):
        signed = signed.clamp(-settings.clip, settings.clip)
    limit = signed.abs().max().item()

    figure, axes = plt.subplots(1, 4, figsize=(14.5, 5.0), layout="constrained")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.imshow(image, cmap="gray")
    axes[0].set_title("FLAIR image, held-out patient")
    axes[1].set_title("label")
    paint(axes[1], label, LABEL)
    axes[2].set_title("signed distance map (mm)\nand its zero level")
    shown = axes[2].imshow(signed, cmap="RdBu", vmin=-limit, vmax=limit)
    axes[2].contour(signed, levels=[0.0], colors="black", linewidths=0.8)
    figure.colorbar(shown, ax=axes[2], location="bottom", shrink=0.8, pad=0.02)
    score = evaluation.dice(found, label)
    axes[3].set_title(f"prediction, Dice of this slice {score:.2f}\n(outline: label)")
    paint(axes[3], found, FOUND)
    axes[3].contour(label.float(), levels=[0.5], colors=LABEL, linewidths=1.0)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def paint(axis: plt.Axes, mask: Tensor, colour: str) -> None:
    """Lay a translucent colour over the pixels of a mask."""
    layer = torch.where(mask, 1.0, math.nan)
    axis.imshow(layer, cmap=ListedColormap([colour]), alpha=0.75, interpolation="nearest")
