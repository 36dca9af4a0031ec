"""The provider ``emulator``: absent with a reason, and the same bits under every schedule."""

from __future__ import annotations

import pytest
import torch

import fastdist
from fastdist.losses import BoundaryLoss
from fastdist.providers import emulator

needs_library = pytest.mark.skipif(
    not emulator.LIBRARY.exists(), reason="python scripts/compile_emulator.py was not run"
)


def test_where_the_library_is_absent_the_reason_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setattr(emulator, "LIBRARY", tmp_path / "_emulator.so")
    reason = emulator.available.__wrapped__()
    assert reason == "there is no _emulator.so: python scripts/compile_emulator.py makes it"


def test_a_library_that_does_not_load_is_a_reason_not_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(emulator, "LIBRARY", tmp_path / "_emulator.so")
    emulator.LIBRARY.write_bytes(b"no library")
    assert "does not load" in emulator.available.__wrapped__()


def test_an_attribute_that_it_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emulator.nothing  # noqa: B018


@needs_library
def test_an_unknown_schedule_is_an_error_that_lists_the_known_ones():
    with (
        pytest.raises(ValueError, match="expected 'forward', 'reverse' or 'shuffled'"),
        emulator.schedule("backwards"),
    ):
        pass


@needs_library
def test_every_schedule_gives_the_same_bits():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 9, 37, generator=generator) < 0.8
    labels = torch.randint(0, 3, (1, 5, 6, 33), generator=generator)
    logits = torch.randn(1, 3, 5, 6, 33, generator=generator)
    results = []
    with fastdist.providers.forced("emulator"):
        for schedule, seed in (("forward", 0), ("reverse", 0), ("shuffled", 1), ("shuffled", 2)):
            with emulator.schedule(schedule, seed):
                distances = fastdist.edt(mask, ndim=2)
                maps = fastdist.signed_distance_maps(labels, 3)
                loss = BoundaryLoss(softmax=True)(logits, labels)
            results.append((distances, maps, loss))
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            assert torch.equal(first, other)
