"""The provider numba, for those without a compiler, against `edt.edt(mask + 1)`."""

from functools import partial

import pytest

from benchmarks import inputs, ours, peers
from benchmarks.contest import Case
from benchmarks.ours import EDT

pytestmark = pytest.mark.rank(70)

CUBE = (256, 256, 256)
IMAGES = {
    "128^3 lesions, patient 19": inputs.lesions_3d,
    "256^3 blobs": partial(inputs.blobs, CUBE),
    "256^3 noise": partial(inputs.noise, CUBE),
    "256^3 one seed": partial(inputs.one_seed, CUBE),
}


@pytest.mark.parametrize("name", IMAGES)
def test_numba(name, contest, threads, full):
    if not full:
        pytest.skip("with --full; the signed maps' cases have it beside the others")
    ours.needed("numba")
    ours.needed("edt")
    mask = IMAGES[name]()
    want = _signed(mask, peers.edt_unsigned(mask + 1, None, threads))
    field = [
        ours.numba_entrant(mask, 3, want),
        ours.edt_entrant(mask, want, None, threads),
    ]
    contest(
        Case(
            f"numba, {name}",
            "signed map by numba, 3-D",
            field,
            mask.size,
            {EDT: 1.5},
            details={"shape": list(mask.shape)},
        )
    )


def _signed(mask, unsigned):
    """The shifted map; its oracle is edt's, which the signed maps' cases hold against SciPy's."""
    return unsigned * (1 - 2.0 * mask) + mask
