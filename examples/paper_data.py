"""The data of the paper's experiment: what trains, what halves the learning rate, what is reported.

Real lesions. One of the three patients is left out and reported. Of each of the other two a slab of
16 slices validates: its Dice decides when the learning rate is halved and which epoch is called
the best. Two slices on either side of a slab are not used at all, neighbours being nearly the same.
The patient who is left out decides nothing.

Synthetic lesions, in slices of the same patients. 2,000 slices train, made from the run's seed in
slices of the first two patients outside of the slabs; others, the same for all runs, are made in
the slabs to validate and in slices of the third patient to be reported.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from examples import evaluation, slices, synthetic
from examples.paper_plan import PATIENTS, Run
from examples.unet import UNet

# In these 16 slices lie 24, 22 and 23 % of the lesion voxels of the three patients.
SLAB = slice(54, 70)
GAP = 2
MADE_TRAINING, MADE_VALIDATION, MADE_TEST = 2000, 48, 300
# Synthetic training data are of the run's seed, which is small; these are of none.
VALIDATION_SEED, TEST_SEED = 1001, 1002
SHOWN = 1  # the number of the reported slice that is drawn
MADE_STEPS = 23  # in an epoch: as many as on real lesions with 26 left out
Scores = dict[str, Any]


class Data(NamedTuple):
    """What one run needs to know of its task."""

    images: Tensor  # (N, 1, H, W) train
    labels: Tensor  # (N, H, W)
    steps: int  # batches in an epoch
    validate: Callable[[UNet], Scores]
    test: Callable[[UNet], Scores]


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
    return made(run.held_out, run.seed, device)


def in_slab(count: int, gap: int = 0) -> Tensor:
    """Which of so many slices are in the slab, or within `gap` slices of it; bool (count,)."""
    number = torch.arange(count)
    return (number >= SLAB.start - gap) & (number < SLAB.stop + gap)


def training_part(patient: slices.Patient) -> tuple[Tensor, Tensor]:
    """Images and labels of the slices that hold brain, without the slab and its neighbours."""
    used = (patient.images > slices.AIR).float().mean(dim=(1, 2, 3)) > 0.05
    used &= ~in_slab(len(used), GAP)
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

    return Data(images, labels, len(images) // batch, validate, test)


def made(held_out: str, seed: int, device: torch.device) -> Data:
    """Synthetic lesions, those of this patient's slices left out."""
    others = [slices.load_patient(name) for name in PATIENTS if name != held_out]
    patient = slices.load_patient(held_out)

    def bases(outside: bool) -> synthetic.Bases:
        parts = []
        for one in others:
            count = len(one.images)
            parts.append(synthetic.bases(one, ~in_slab(count, GAP) if outside else in_slab(count)))
        return synthetic.joined(parts)

    images, labels = synthetic.made(bases(outside=True), MADE_TRAINING, seed)
    validation = synthetic.made(bases(outside=False), MADE_VALIDATION, VALIDATION_SEED)
    tested = synthetic.made(synthetic.bases(patient), MADE_TEST, TEST_SEED)

    def validate(network: UNet) -> Scores:
        return score_slices(predict(network, validation[0]), validation[1] == 1)

    def test(network: UNet) -> Scores:
        return score_slices(predict(network, tested[0]), tested[1] == 1)

    return Data(images.to(device), labels.to(device), MADE_STEPS, validate, test)


def shown_slice(task: str, held_out: str) -> tuple[Tensor, Tensor]:
    """Image and label (H, W) of the one slice of which the results keep the prediction."""
    patient = slices.load_patient(held_out)
    if task == "real":  # the one with most lesion pixels
        index = int((patient.labels == 1).sum(dim=(1, 2)).argmax())
        return patient.images[index, 0], patient.labels[index] == 1
    image, label = synthetic.made_slice(synthetic.bases(patient), TEST_SEED, SHOWN)
    return image, label == 1


def score_volume(prediction: Tensor, truth: Tensor, spacing: tuple[float, ...]) -> Scores:
    """Dice, HD95 (None where nothing is found: JSON has no infinity) and lesions of a volume."""
    found = prediction.any() and truth.any()
    return {
        "dice": evaluation.dice(prediction, truth),
        "hd95_mm": evaluation.hd95(prediction, truth, spacing) if found else None,
    } | evaluation.lesions_found(prediction, truth)


def score_slices(prediction: Tensor, truth: Tensor) -> Scores:
    """The same of slices (N, H, W) that are no volume: Dice and HD95 are means over slices.

    HD95 over those where anything is found; "empty" counts the others. A pixel is 1 mm wide.
    """
    both = list(zip(prediction, truth, strict=True))
    known = [evaluation.hd95(one, other, (1.0, 1.0)) for one, other in both if one.any()]
    blank = torch.zeros_like(truth)  # between two slices: lesions of one do not touch the next's

    def apart(masks: Tensor) -> Tensor:
        return torch.stack([masks, blank], dim=1).flatten(0, 1)

    return {
        "dice": fmean(evaluation.dice(one, other) for one, other in both),
        "hd95_mm": fmean(known) if known else None,
        "empty": len(both) - len(known),
    } | evaluation.lesions_found(apart(prediction), apart(truth))
