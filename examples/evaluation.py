"""What is reported of a segmented volume: Dice, exact 95 % Hausdorff distance, lesions found."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

import fastdist
from examples.components import components


def dice(prediction: Tensor, truth: Tensor) -> float:
    """Twice the overlap of two boolean volumes, divided by the sum of their sizes."""
    both = (prediction & truth).sum().item()
    total = prediction.sum().item() + truth.sum().item()
    return 2 * both / total if total else 1.0


def surface(volume: Tensor) -> Tensor:
    """The voxels with a face-neighbour outside: those at one voxel from the nearest outside one."""
    return fastdist.edt(volume, ndim=volume.ndim, border=True) == 1


def hd95(prediction: Tensor, truth: Tensor, spacing: Sequence[float]) -> float:
    """The larger of the two directed 95 % distances between the surfaces; inf if one is empty.

    Of two volumes or two slices, in the unit of `spacing`. The definition of
    ``monai.metrics.HausdorffDistanceMetric`` with ``percentile=95``.
    """
    if not prediction.any() or not truth.any():
        return math.inf
    surfaces = surface(prediction), surface(truth)
    directed = []
    for one, other in (surfaces, surfaces[::-1]):
        distances = fastdist.edt(~other, spacing, ndim=other.ndim)
        directed.append(distances[one].quantile(0.95).item())
    return max(directed)


def lesions_found(prediction: Tensor, truth: Tensor) -> dict[str, int]:
    """How many lesions the prediction touches, how many of the thin ones, and how many it invents.

    A lesion is a component of the labels whatever its size; it is found where at least one of its
    voxels is predicted. A component of the prediction that touches no lesion is a false one. Thin
    is a lesion that is one or two pixels thick in every slice: each of its pixels has background
    at a distance of 1 in the slice, and there the map of ``zero="shifted"`` is nowhere negative.
    """
    lesions, blobs = components(truth), components(prediction)
    found = torch.zeros(int(lesions.max()) + 1, dtype=torch.bool)
    found[lesions[prediction]] = True
    depth = torch.zeros(len(found))
    depth.scatter_reduce_(0, lesions[truth], fastdist.edt(truth, ndim=2)[truth], "amax")
    thin = depth <= 1
    return {
        "lesions": len(found) - 1,  # number 0 is the background
        "found": int(found[1:].sum()),
        "thin": int(thin[1:].sum()),
        "thin_found": int((thin & found)[1:].sum()),
        "false_lesions": int(blobs.max()) - len(blobs[truth & prediction].unique()),
    }
