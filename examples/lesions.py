"""Train a small U-Net to find multiple-sclerosis lesions, with the boundary loss.

    python -m examples.lesions                       # on the GPU if there is one, else the CPU
    python -m examples.lesions --loss gdl            # the same without the boundary loss
    python -m examples.lesions --schedule rebalance --weight 0.99 --epochs 40

Patients 07 and 19 train the network, 26 is held out. The loss gets logits and integer labels, as
they come out of the augmentation; nothing is prepared offline. What the settings
reach, and that they were compared on patient 26 itself, is in docs/demo.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from examples import evaluation, picture, slices
from examples.generalised_dice import generalised_dice_loss
from examples.stopwatch import TimedLoss
from examples.unet import UNet
from fastdist import losses, providers

Schedule = losses.ConstantSchedule | losses.IncreaseSchedule | losses.RebalanceSchedule
BATCH = 8
LEARNING_RATE = 3e-3


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    choice = parser.add_argument
    choice(
        "--loss",
        choices=["both", "gdl"],
        default="both",
        help="generalised Dice and boundary loss, or generalised Dice alone (default: both)",
    )
    choice(
        "--schedule",
        choices=["constant", "increase", "rebalance"],
        default="constant",
        help="how the boundary loss is weighed over the epochs (default: %(default)s)",
    )
    choice(
        "--weight",
        type=float,
        default=0.01,
        help="weight of the boundary loss in the last epoch; the paper's rebalancing ends at 0.99 "
        "(default: %(default)s)",
    )
    choice(
        "--clip",
        type=float,
        default=math.inf,
        help="clamp the signed map to this many pixels (default: no clipping)",
    )
    choice(
        "--zero",
        choices=["shifted", "midpoint", "inner", "none"],
        default="shifted",
        help="where the signed map is zero, see fastdist.conventions (default: %(default)s)",
    )
    choice("--epochs", type=int, default=16, help="passes over the slices (default: %(default)s)")
    choice("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if present)")
    choice("--seed", type=int, default=0, help="of weights, order and augmentation (default: 0)")
    choice("--out", type=Path, default=Path("out"), help="folder for the results (default: out)")
    return parser.parse_args(arguments)


def make_schedule(settings: argparse.Namespace) -> Schedule:
    """The schedule asked for, arriving at ``settings.weight`` in the last epoch."""
    if settings.schedule == "rebalance":  # (1 - a) * generalised Dice + a * boundary
        return losses.RebalanceSchedule(settings.epochs, floor=1 - settings.weight)
    if settings.schedule == "increase":  # generalised Dice + a * boundary
        return losses.IncreaseSchedule(settings.epochs, start=0.0, stop=settings.weight)
    return losses.ConstantSchedule(settings.weight)


def make_boundary_loss(settings: argparse.Namespace, device: torch.device) -> TimedLoss:
    """The boundary loss of the lesion class: with two classes only the foreground's map counts."""
    clip = settings.clip if math.isfinite(settings.clip) else None
    loss = losses.BoundaryLoss(
        include_background=False, softmax=True, zero=settings.zero, clip=clip
    )
    if providers.current(device) is not None:
        return TimedLoss(loss, device)

    print(f"fastdist has no kernels for {device} here (see python -m fastdist.info):")
    print("the boundary loss is computed on the CPU.")

    def loss_on_cpu(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits.cpu(), labels.cpu()).to(logits.device)

    return TimedLoss(loss_on_cpu, device)


def train(
    settings: argparse.Namespace,
    device: torch.device,
    training: Sequence[str] = slices.TRAINING,
) -> tuple[UNet, dict]:
    """The trained network, and what the training took."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    images, labels = slices.training_slices(device, training)
    network = UNet().to(device).to(memory_format=torch.channels_last)
    boundary_loss = make_boundary_loss(settings, device)
    schedule = make_schedule(settings).to(device)
    steps = settings.epochs * (len(images) // BATCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    started = time.perf_counter()
    # leave=None: stays on the screen, unless it is inside of another bar (examples/ablation.py).
    bar = tqdm(total=steps, unit="step", dynamic_ncols=True, leave=None)
    for epoch in range(settings.epochs):
        bar.set_description(f"epoch {epoch + 1}/{settings.epochs}")
        for batch, truth in slices.shuffled_batches(images, labels, BATCH, generator):
            logits = network(batch.contiguous(memory_format=torch.channels_last))
            loss = regional = generalised_dice_loss(logits, truth)
            shown = {"gdl": regional}
            if settings.loss == "both":
                shown["boundary"] = boundary = boundary_loss(logits, truth)
                loss = schedule.combine(regional, boundary)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
            bar.update()
            if bar.n % 10 == 0 or bar.n == steps:  # reading a value waits for the GPU
                values = {name: f"{value.item():.4f}" for name, value in shown.items()}
                share = boundary_loss.seconds_so_far() / (time.perf_counter() - started)
                bar.set_postfix(values | {"boundary loss takes": f"{share:.1%}"})
        schedule.step()
    bar.close()
    seconds = time.perf_counter() - started
    share = boundary_loss.seconds_so_far() / seconds
    return network.eval(), {"steps": steps, "seconds": seconds, "boundary_share": share}


@torch.no_grad()
def predict(network: UNet, images: Tensor, device: torch.device) -> Tensor:
    """Lesion or not, for each voxel of a stack of slices; bool, on the CPU."""
    chunks = [network(chunk.to(device)).argmax(dim=1).bool().cpu() for chunk in images.split(16)]
    return torch.cat(chunks)


def score(
    patient: slices.Patient, prediction: Tensor, training: Sequence[str] = slices.TRAINING
) -> dict[str, float]:
    """How well the prediction fits, and how well a grey value fitted to the others would have."""
    truth = patient.labels == 1
    bright = patient.images[:, 0] > slices.best_threshold(training)
    return {
        "dice": evaluation.dice(prediction, truth),
        "hd95_mm": evaluation.hd95(prediction, truth, patient.spacing),
        "threshold_dice": evaluation.dice(bright, truth),
    }


def find_device(name: str) -> torch.device:
    """The device of that name; for "auto" the GPU if there is one, else the CPU."""
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(found if name == "auto" else name)


def main(arguments: list[str] | None = None) -> dict:
    settings = parse_arguments(arguments)
    device = find_device(settings.device)
    print(f"training on {device}, {settings.epochs} epochs; provider: {providers.current(device)}")
    network, report = train(settings, device)

    patient = slices.load_patient(slices.HELD_OUT)
    prediction = predict(network, patient.images, device)
    report |= score(patient, prediction)
    report["dice_of_shown_slice"] = picture.dice_of_shown_slice(prediction, patient.labels == 1)

    settings.out.mkdir(parents=True, exist_ok=True)
    file = settings.out / "lesions.png"
    picture.draw(patient, prediction, settings, file)
    chosen = {name: str(value) for name, value in vars(settings).items()}
    (settings.out / "lesions.json").write_text(json.dumps(chosen | report, indent=2) + "\n")

    print(f"{report['steps']} steps in {report['seconds']:.0f} s, of which the boundary loss")
    print(f"took {report['boundary_share']:.1%}. Held-out patient {slices.HELD_OUT}:")
    print(f"  Dice of the volume {report['dice']:.3f}, HD95 {report['hd95_mm']:.1f} mm")
    print(f"  (Dice of the slice in the picture: {report['dice_of_shown_slice']:.3f})")
    print(f"  (a grey-value threshold fitted to the others: {report['threshold_dice']:.3f})")
    print(f"See {file}")
    return report


if __name__ == "__main__":
    main()
