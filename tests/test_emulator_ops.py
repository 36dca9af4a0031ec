"""Every op on the emulator gives the same bits whatever the order of threads and blocks.

A barrier that is missing, or memory that is read before it is written, would show: what is not
written yet holds other bytes under each schedule.
"""

from __future__ import annotations

import cuda_calls
import pytest
import torch

from fastdist import providers
from fastdist.providers import emulator

pytestmark = pytest.mark.skipif(emulator.available() is not None, reason=str(emulator.available()))
SCHEDULES = [("reverse", 0), ("shuffled", 1), ("shuffled", 2)]
#: Enough for the columns of every space below, and too little for any of them.
SHARED_BYTES = [None, "4096"]


def parts(result):
    """Its tensors, as bytes."""
    return [part.reshape(-1).view(torch.uint8) for part in result]


@pytest.mark.parametrize("shared_bytes", SHARED_BYTES, ids=["shared", "global"])
@pytest.mark.parametrize("space", [(70,), (37, 45), (9, 21, 34)], ids=str)
@pytest.mark.parametrize("name", cuda_calls.CALLS)
def test_schedules_agree_bit_for_bit(name, space, shared_bytes, monkeypatch):
    if shared_bytes is not None:
        monkeypatch.setenv("FASTDIST_EMULATOR_SHARED_BYTES", shared_bytes)
    batch = cuda_calls.batch(space, "cpu")
    with providers.forced("emulator"):
        with emulator.schedule("forward"):
            expected = parts(cuda_calls.CALLS[name](batch))
        for schedule, seed in SCHEDULES:
            with emulator.schedule(schedule, seed):
                got = parts(cuda_calls.CALLS[name](batch))
            for one, other in zip(expected, got, strict=True):
                assert torch.equal(one, other), schedule
