"""A training step with each loss: what the boundary loss adds to it, by each library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import fastdist
from benchmarks import ours, peers, regional, unet

BOUNDARY = "Dice + CE + boundary loss, "
OURS = BOUNDARY + ours.OURS
ALONE = "Dice + CE alone"
SHARE = 0.01  # of the boundary loss, as in an early epoch
Loss = Callable[[Tensor, Tensor], Tensor]


class TrainingStep:
    """One network and its optimizer, which the losses take turns with; bfloat16 on a GPU."""

    def __init__(self, images: Tensor, labels: Tensor, classes: int, widths: Sequence[int]) -> None:
        torch.manual_seed(0)
        ndim = images.dim() - 2
        self.images, self.labels = images, labels
        self.network = unet.UNet(classes, widths, ndim).to(images.device)
        parameters = self.network.parameters()
        self.optimizer = torch.optim.SGD(parameters, lr=1e-5, momentum=0.99, nesterov=True)

    def with_loss(self, loss: Loss) -> Callable[..., Tensor]:
        device = self.images.device.type

        def step(*_: Any) -> Tensor:
            self.optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = self.network(self.images)
            value = loss(logits.float(), self.labels)
            value.backward()
            self.optimizer.step()
            return value.detach()

        return step

    @property
    def details(self) -> dict[str, Any]:
        parameters = sum(p.numel() for p in self.network.parameters())
        return {"shape": list(self.images.shape), "parameters": parameters}


def losses(failed: dict[str, str], generalised: bool = True) -> dict[str, Loss]:
    """The losses by name, ours first; a peer that is there but does not start is named."""
    mine = fastdist.losses.BoundaryLoss(softmax=True)
    found = {
        OURS: _added(regional.dice_and_ce, mine),
        ALONE: regional.dice_and_ce,
    }
    if generalised:
        found["generalised Dice alone"] = regional.generalised_dice
        found["generalised Dice + boundary loss, fastdist"] = _added(
            regional.generalised_dice, mine
        )
    for make in (peers.exacta_loss, peers.monai_loss):
        named = peers.tried(failed, make.__name__, make, None)
        if named is not None:
            found[BOUNDARY + named[0]] = _added(regional.dice_and_ce, named[1])
    return found


def _added(regional_loss: Loss, boundary: Loss) -> Loss:
    return lambda logits, labels: regional_loss(logits, labels) + SHARE * boundary(logits, labels)


def finite(value: Tensor) -> float:
    """A step's check: its loss is a number. The maps are checked beside it."""
    assert bool(torch.isfinite(value)), "the loss is not finite"
    return 0.0
