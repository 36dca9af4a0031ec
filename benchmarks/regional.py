"""Regional losses that the boundary loss joins in training: Dice + CE, and generalised Dice."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot


def _overlap(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per class, over the whole batch: overlap, predicted and true size."""
    probabilities = logits.softmax(1)
    truth = one_hot(labels, logits.shape[1]).movedim(-1, 1).to(probabilities.dtype)
    axes = (0, *range(2, logits.dim()))
    overlap = (probabilities * truth).sum(axes)
    return overlap, probabilities.sum(axes), truth.sum(axes)


def dice_and_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean soft Dice over classes plus cross entropy, as nnU-Net trains."""
    overlap, predicted, true = _overlap(logits, labels)
    dice = (2 * overlap + 1e-5) / (predicted + true + 1e-5)
    return 1 - dice.mean() + cross_entropy(logits, labels)


def generalised_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Sudre et al. 2017: each class weighted by 1 / (its size)^2."""
    overlap, predicted, true = _overlap(logits, labels)
    weight = 1 / true.clamp(min=1) ** 2
    return 1 - 2 * (weight * overlap).sum() / (weight * (predicted + true)).sum()
