"""Images whose columns are near their sources or far from them, around the limits between both.

For ``csrc/cuda/kernels/pairs.cuh``: distances of 181 steps of 1, spacings of up to 6.
"""

from __future__ import annotations

import numpy as np
import torch

from fastdist import edt, edt_labels, signed_distance

#: Rows of a column, and the spacing along it and across.
COLUMNS = [
    *((n, (1, 1)) for n in (15, 16, 17, 33, 64, 129, 255, 363, 400, 512)),
    *((n, (h, 1)) for n in (47, 130) for h in (2, 3, 5, 6, 7)),
    *((200, (1, h)) for h in (2, 5, 20)),
]


def images(rows: int) -> dict[str, np.ndarray]:
    """One pixel, noise of several densities, stripes, blocks: from all near to all far."""
    random, width = np.random.default_rng(rows), 45
    pixel = np.zeros((rows, width), bool)
    pixel[rows // 3, width // 2] = True
    found = {"pixel": pixel, "stripes": np.zeros((rows, width), bool)}
    found["stripes"][random.integers(0, rows, 3)] = True
    for share in (0.0005, 0.003, 0.02, 0.5):
        found[f"noise {share}"] = random.random((rows, width)) < share
    coarse = random.random((rows // 40 + 1, 2)) < 0.4
    found["blocks"] = coarse.repeat(40, 0).repeat(23, 1)[:rows, :width]
    return found


def computed(rows: int, spacing: tuple[int, int], device: str = "cpu") -> dict[str, torch.Tensor]:
    """Every transform of them, computed on a device."""
    found = {}
    for name, image in images(rows).items():
        mask = torch.from_numpy(image).to(device)
        labels = mask.int()
        found[f"edt {name}"] = edt(mask, spacing, ndim=2)
        found[f"edt outside {name}"] = edt(~mask, spacing, ndim=2)
        found[f"border {name}"] = edt(mask, spacing, ndim=2, border=True)
        found[f"labels {name}"] = edt_labels(labels, spacing, ndim=2)
        for zero in ("shifted", "inner", "midpoint"):
            found[f"{zero} {name}"] = signed_distance(mask, spacing, ndim=2, zero=zero)
        # A volume of such planes has a pass that ends with squares, and one that begins with them.
        volume = torch.stack([mask, ~mask, mask.flip(0)])
        found[f"volume {name}"] = signed_distance(volume, (2, *spacing), ndim=3, clip=9.5)
    return {name: result.cpu() for name, result in found.items()}
