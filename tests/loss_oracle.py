"""The boundary loss from its definition: maps of `oracles`, probabilities and autograd of torch.

Everything is float64, one voxel axis after the other spelled out, and nothing of fastdist is used.
"""

from __future__ import annotations

import numpy as np
import oracles
import torch
from torch import Tensor

ACTIVATIONS = {
    "none": lambda z: z,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: torch.softmax(z, 1),
    "other_act": torch.tanh,
}


def settings(activation: str) -> dict:
    """The arguments that choose an activation."""
    if activation == "none":
        return {}
    return {activation: ACTIVATIONS[activation] if activation == "other_act" else True}


def channels(labels: Tensor, num_classes: int) -> Tensor:
    """Foreground [B, C, *S] of class indices [B, *S]."""
    return torch.stack([labels == k for k in range(num_classes)], 1)


def maps(foreground: Tensor, known: Tensor, spacing=None, **convention) -> Tensor:
    """Signed maps [B, C, *S] of foreground channels; `spacing` may have a row per item."""
    spacing = None if spacing is None else np.asarray(spacing, np.float64)
    out = np.zeros(foreground.shape)
    for n, (image, is_known) in enumerate(zip(foreground.numpy(), known.numpy(), strict=True)):
        own = spacing[n] if spacing is not None and spacing.ndim == 2 else spacing
        for k, one in enumerate(image):
            out[n, k] = oracles.signed_map(one & is_known, ~one & is_known, own, **convention)
    return torch.from_numpy(out)


def loss(
    logits: Tensor,
    foreground: Tensor,
    known: Tensor | None = None,
    *,
    activation: str = "none",
    include_background: bool = True,
    reduction: str = "mean",
    batch: bool = False,
    offset: bool = False,
    dist_map: Tensor | None = None,
    spacing=None,
    **convention,
) -> Tensor:
    """The loss, differentiable in `logits`."""
    if known is None:
        known = torch.ones(foreground[:, 0].shape, dtype=torch.bool)
    phi = maps(foreground, known, spacing, **convention) if dist_map is None else dist_map.double()
    inside = known.unsqueeze(1)
    p = ACTIVATIONS[activation](torch.where(inside, logits, 0).double())
    if offset:
        p = p - foreground.double()
    terms = torch.where(inside, p * phi, 0)
    first = 0 if include_background or logits.shape[1] == 1 else 1
    sums = terms.flatten(2).sum(2)[:, first:]
    counts = known.flatten(1).sum(1, keepdim=True)
    if batch:
        sums, counts = sums.sum(0), counts.sum(0)
    values = sums / counts.clamp(min=1)
    return {"none": values, "sum": values.sum(), "mean": values.mean()}[reduction]


def with_gradient(function, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Value of `function(logits)` and gradient of its weighted total with respect to `logits`."""
    leaf = logits.detach().requires_grad_()
    value = function(leaf)
    weights = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype).view(value.shape)
    (value * weights).sum().backward()
    return value.detach(), leaf.grad


def lesion_labels(batch: int, space: tuple[int, ...], num_classes: int, seed: int = 0) -> Tensor:
    """Class indices [B, *S]: a few boxes of each class; some classes absent, some items full."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros((batch, *space), dtype=torch.int64)
    for n in range(batch):
        for k in range(1, num_classes):
            for _ in range(int(torch.randint(0, 3, (), generator=generator))):
                box = [n]
                for size in space:
                    start = int(torch.randint(0, size, (), generator=generator))
                    length = int(torch.randint(1, max(2, size // 2), (), generator=generator))
                    box.append(slice(start, start + length))
                labels[tuple(box)] = k
    return labels
