"""Columns where all is near are computed in pairs of 16 bits, others are not: the same bits always.

The expected values are those of the provider for CPUs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from near_cases import COLUMNS, computed

from fastdist import edt, providers
from fastdist.providers import emulator, extension

pytestmark = [
    pytest.mark.skipif(emulator.available() is not None, reason=str(emulator.available())),
    pytest.mark.skipif(extension.available() is not None, reason=str(extension.available())),
]


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
