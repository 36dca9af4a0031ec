"""Connected components of a volume: which voxels are one lesion. Plain torch, no SciPy needed."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional


def components(volume: Tensor) -> Tensor:
    """Number the components of a boolean image, voxels that share a corner being connected.

    In 3-D those are the 26 neighbours: a lesion cut obliquely by the grid stays one. The value is
    `scipy.ndimage.label` with a full structuring element: 0 outside, 1, 2, ... in scan order.
    """
    # A border of outside voxels keeps the neighbours of one row from leaking into the next.
    padded = functional.pad(volume.to(torch.uint8), (1, 1) * volume.ndim).bool()
    sites = padded.flatten().nonzero()[:, 0]  # (N,)
    own = torch.arange(len(sites))
    number = torch.full((padded.numel(),), -1)
    number[sites] = own

    first, second = [], []
    for step in itertools.product((-1, 0, 1), repeat=volume.ndim):
        offset = sum(s * stride for s, stride in zip(step, padded.stride(), strict=True))
        if offset > 0:  # each pair of neighbours once
            neighbour = number[sites + offset]
            first.append(own[neighbour >= 0])
            second.append(neighbour[neighbour >= 0])
    ends = torch.cat(first), torch.cat(second)

    # Every voxel points at a smaller one of its component, roots at themselves. Where an edge
    # joins two roots, the larger is hung below the smaller; then all point at their roots again.
    root = own.clone()
    while not torch.equal(one := root[ends[0]], other := root[ends[1]]):
        root.scatter_reduce_(0, torch.maximum(one, other), torch.minimum(one, other), "amin")
        while not torch.equal(root, above := root[root]):
            root = above
    found = torch.zeros(volume.shape, dtype=torch.int64)
    found[volume] = torch.unique(root, return_inverse=True)[1] + 1
    return found
