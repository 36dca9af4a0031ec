"""Every public function with every kind of argument on the executor of PTX, against the CPU's."""

from __future__ import annotations

import cuda_calls
import pytest
import torch
from cuda_calls import CALLS, SPACES, batch

from fastdist import providers
from fastdist.providers import extension, ptx

pytestmark = [
    pytest.mark.skipif(ptx.available() is not None, reason=str(ptx.available())),
    pytest.mark.skipif(extension.available() is not None, reason=str(extension.available())),
]

#: Their spacings are no whole numbers, so that squared distances are rounded.
ROUNDED = "spacing", "unit", "midpoint", "max", "loss"
#: Of a distance that is rounded, half the spacing is taken, and the rest divided: two roundings more.
STEPS = {"maps, item spacing": 3}


def _steps_apart(a: torch.Tensor, b: torch.Tensor) -> int:
    """How many floating numbers lie between the elements that differ most."""
    kind = {8: torch.int64, 4: torch.int32, 2: torch.int16}[a.element_size()]
    low = torch.iinfo(kind).min

    def number(x: torch.Tensor) -> torch.Tensor:
        bits = x.view(kind)
        return torch.where(bits < 0, low - bits, bits)  # in the order of the numbers

    return int((number(a) - number(b)).abs().max())


@pytest.mark.parametrize("space", SPACES, ids=lambda space: "x".join(map(str, space)))
@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_what_the_cpu_does(name, space):
    inputs = batch(space, "cpu")
    with providers.forced("extension"):
        expected = CALLS[name](inputs)
    with providers.forced("ptx"):
        found = CALLS[name](inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if not any(word in name for word in ROUNDED):
            assert torch.equal(ours, theirs)
        elif name.startswith("loss"):  # sums in another order
            most = float(theirs.abs().max()) or 1.0
            assert float((ours - theirs).abs().max()) <= cuda_calls.tolerance(ours.dtype) * most
        else:
            assert _steps_apart(ours, theirs) <= STEPS.get(name, 1)
