"""Columns where all is near are computed in pairs of 16 bits, others are not: the same bits always.

Here distances lie around the limits of ``csrc/cuda/kernels/pairs.cuh``: 181 steps of 1, spacings of
up to 6. The expected values are those of the provider for CPUs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastdist import edt, edt_labels, providers, signed_distance
from fastdist.providers import emulator, extension

pytestmark = [
    pytest.mark.skipif(emulator.available() is not None, reason=str(emulator.available())),
    pytest.mark.skipif(extension.available() is not None, reason=str(extension.available())),
]
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


def computed(rows: int, spacing: tuple[int, int]) -> dict[str, torch.Tensor]:
    found = {}
    for name, image in images(rows).items():
        mask, labels = torch.from_numpy(image), torch.from_numpy(image.astype(np.int32))
        found[f"edt {name}"] = edt(mask, spacing, ndim=2)
        found[f"edt outside {name}"] = edt(~mask, spacing, ndim=2)
        found[f"border {name}"] = edt(mask, spacing, ndim=2, border=True)
        found[f"labels {name}"] = edt_labels(labels, spacing, ndim=2)
        for zero in ("shifted", "inner", "midpoint"):
            found[f"{zero} {name}"] = signed_distance(mask, spacing, ndim=2, zero=zero)
        # A volume of such planes has a pass that ends with squares, and one that begins with them.
        volume = torch.stack([mask, ~mask, mask.flip(0)])
        found[f"volume {name}"] = signed_distance(volume, (2, *spacing), ndim=3, clip=9.5)
    return found


@pytest.mark.parametrize(("rows", "spacing"), COLUMNS)
def test_pairs_are_exact(rows, spacing, monkeypatch):
    with providers.forced("extension"):
        expected = computed(rows, spacing)
    for pairs in ("1", "0"):
        monkeypatch.setenv("FASTDIST_EMULATOR_PAIRS", pairs)
        emulator.reset_counters()
        with providers.forced("emulator"):
            for name, found in computed(rows, spacing).items():
                assert torch.equal(found, expected[name]), (name, pairs)
        counted = emulator.counters()
        serve = spacing[0] <= 6 and (rows > 64 or (rows - 1) % 16 >= 8)  # not half empty runs
        assert (counted.get("pair rows", 0) > 0) == (serve and pairs == "1")
    assert counted["run rows"] > 0


def test_both_ways_are_taken(monkeypatch):
    """One seed in 512 rows: its own column is near nowhere but close to it; noise is near."""
    monkeypatch.setenv("FASTDIST_EMULATOR_PAIRS", "1")
    for share, near in ((0.0, False), (0.1, True)):
        mask = torch.from_numpy(np.random.default_rng(0).random((512, 32)) < share)
        mask[0, 0] = True
        emulator.reset_counters()
        with providers.forced("emulator"):
            edt(~mask, ndim=2)
        counted = emulator.counters()
        ways = [counted.get(rows, 0) > 0 for rows in ("pair rows", "run rows")]
        assert ways == [near, not near]
