"""Generalised Dice loss (Sudre et al. 2017): the regional loss that the boundary loss joins."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot


def generalised_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Overlap of softmax and labels, each class weighted by 1 / (its size)^2.

    Parameters
    ----------
    logits : Tensor
        (B, C, H, W).
    labels : Tensor
        (B, H, W) class indices.

    Returns
    -------
    Tensor
        In [0, 1]; sums run over the whole batch, where few slices hold no lesion at all.
    """
    classes = logits.shape[1]
    probabilities = logits.softmax(dim=1)
    truth = one_hot(labels.long(), classes).movedim(-1, 1).to(probabilities.dtype)
    pixels = (0, 2, 3)
    size = truth.sum(pixels)  # (C,)
    weight = 1 / size.clamp(min=1) ** 2
    overlap = (weight * (truth * probabilities).sum(pixels)).sum()
    union = (weight * (size + probabilities.sum(pixels))).sum()
    return 1 - 2 * overlap / union
