"""The data of the paper's experiment: what trains, what halves the learning rate, what is reported.

Real lesions. One of the three patients is left out and reported. Of each of the other two a slab of
16 slices validates: its Dice decides when the learning rate is halved and which epoch is called
the best. Two slices on either side of a slab are not used at all, neighbours being nearly the same.
The patient who is left out decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from examples import evaluation, slices
from examples.paper_plan import PATIENTS, Run
from examples.unet import UNet

# In these 16 slices lie 24, 22 and 23 % of the lesion voxels of the three patients.
SLAB = slice(54, 70)
GAP = 2
Scores = dict[str, Any]


class Data(NamedTuple):
    """What one run needs to know of its task."""

    images: Tensor  # (N, 1, H, W) train
    labels: Tensor  # (N, H, W)
    steps: int  # batches in an epoch
    validate: Callable[[UNet], Scores]
    test: Callable[[UNet], Scores]
    shown: Callable[[UNet], Tensor]  # (H, W) bool: the prediction of the slice that is drawn


@torch.no_grad()
def predict(network: UNet, images: Tensor) -> Tensor:
    """Lesion or not, for each pixel of a stack of slices; bool, on the CPU."""
    device = next(network.parameters()).device
    found = []
    for chunk in images.split(8):
        logits = network(chunk.to(device).contiguous(memory_format=torch.channels_last))
        found.append(logits.argmax(dim=1).bool().cpu())
    return torch.cat(found)


def load(run: Run, batch: int, device: torch.device) -> Data:
    """The data of this run."""
    if run.task == "real":
        return real(run.held_out, batch, device)
    raise ValueError(f"task: got {run.task!r}, expected 'real'")


def training_part(patient: slices.Patient) -> tuple[Tensor, Tensor]:
    """Images and labels of the slices that hold brain, without the slab and its neighbours."""
    used = (patient.images > slices.AIR).float().mean(dim=(1, 2, 3)) > 0.05
    used[max(SLAB.start - GAP, 0) : SLAB.stop + GAP] = False
    return patient.images[used], patient.labels[used]


def real(held_out: str, batch: int, device: torch.device) -> Data:
    """Real lesions, this patient left out."""
    others = [slices.load_patient(name) for name in PATIENTS if name != held_out]
    parts = [training_part(patient) for patient in others]
    images = torch.cat([image for image, _ in parts]).to(device)
    labels = torch.cat([label for _, label in parts]).to(device)
    patient = slices.load_patient(held_out)

    def validate(network: UNet) -> Scores:
        """Means over the two patients' slabs; false lesions are added up."""
        scores = [
            score_volume(predict(network, one.images[SLAB]), one.labels[SLAB] == 1, one.spacing)
            for one in others
        ]
        known = [one["hd95_mm"] for one in scores if one["hd95_mm"] is not None]
        return {
            "dice": fmean(one["dice"] for one in scores),
            "hd95_mm": fmean(known) if known else None,
            "false_lesions": sum(one["false_lesions"] for one in scores),
        }

    def test(network: UNet) -> Scores:
        return score_volume(predict(network, patient.images), patient.labels == 1, patient.spacing)

    def shown(network: UNet) -> Tensor:
        index = int((patient.labels == 1).sum(dim=(1, 2)).argmax())
        return predict(network, patient.images[index : index + 1])[0]

    return Data(images, labels, len(images) // batch, validate, test, shown)


def score_volume(prediction: Tensor, truth: Tensor, spacing: tuple[float, ...]) -> Scores:
    """Dice, HD95 (None where nothing is found: JSON has no infinity) and lesions of a volume."""
    found = prediction.any() and truth.any()
    return {
        "dice": evaluation.dice(prediction, truth),
        "hd95_mm": evaluation.hd95(prediction, truth, spacing) if found else None,
    } | evaluation.lesions_found(prediction, truth)
