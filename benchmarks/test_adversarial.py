"""Inputs chosen to be slow: none may cost more than 10 ns a voxel.

At 256^3 the results are checked against `edt`; against SciPy at a size at which that takes no time.
"""

from functools import partial

import pytest
import torch

import fastdist
from benchmarks import inputs, ours, peers
from benchmarks.contest import Case

pytestmark = pytest.mark.rank(60)

ALWAYS = {  # the others with --full
    "empty", "full", "seed in a corner", "noise 50 %", "noise 1 %", "noise 0.01 %", "checkerboard",
    "shell", "slanted plane", "comb", "diagonal", "blobs",
}  # fmt: skip


@pytest.mark.parametrize("name", inputs.ADVERSARIAL)
def test_adversarial(name, contest, threads, full):
    if name not in ALWAYS and not full:
        pytest.skip("with --full")
    ours.needed("scipy")
    ours.needed("edt")
    make = inputs.ADVERSARIAL[name]
    small = make((48, 48, 48))
    got = fastdist.signed_distance(torch.from_numpy(small), ndim=3)
    error = ours.difference(peers.scipy_signed(small), got)
    assert error <= 1e-6

    mask = make((256, 256, 256))
    constant = mask.min() == mask.max()
    one, fresh = ours.entrants(mask, 3, None)
    oracle = ours.Once(partial(peers.edt_unsigned, mask + 1, None, threads), ours.EDT)
    if not constant:  # of an empty or full image the signed map is zero, by convention
        one.check = fresh.check = lambda got: ours.difference(
            oracle.want, peers.magnitude(got.numpy(), mask)
        )
    contest(
        Case(
            f"adversarial, 256^3 {name}",
            "adversarial inputs",
            [one, fresh, oracle.entrant],
            mask.size,
            ceiling=10.0,
            patience=1.0,
            details={"shape": list(mask.shape), "error_against_scipy_at_48^3": error},
        )
    )


SPACED = ["seed in a corner", "noise 0.01 %", "slanted plane", "blobs"]


@pytest.mark.parametrize("name", SPACED)
def test_adversarial_with_spacing(name, contest, threads, full):
    if not full:
        pytest.skip("with --full")
    ours.needed("edt")
    sampling = (0.8, 0.46875, 0.46875)
    mask = inputs.ADVERSARIAL[name]((256, 256, 256))
    unsigned = peers.edt_unsigned(mask + 1, sampling, threads)
    one, fresh = ours.entrants(mask, 3, None, sampling)
    one.check = partial(_spaced_error, mask, unsigned, min(sampling))
    rival = ours.edt_entrant(mask, mask, sampling, threads)
    rival.check = None
    contest(
        Case(
            f"adversarial, 256^3 {name}, spacing {sampling}",
            "adversarial inputs",
            [one, fresh, rival],
            mask.size,
            ceiling=10.0,
            patience=1.5,
        )
    )


def _spaced_error(mask, unsigned, h, got):
    return ours.difference(unsigned, peers.magnitude(got.numpy(), mask, h))
