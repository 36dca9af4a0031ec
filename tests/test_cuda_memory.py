"""Memory that runs out on a GPU is torch's own error, with the bytes that were asked for."""

import re

import pytest
import torch
from cuda_support import DEVICE, assert_same_bits, needs_cuda

from fastdist import edt, signed_distance_maps
from fastdist.functional import boundary_loss

pytestmark = needs_cuda

SIDE = 2**20  # of an image of terabytes, all of whose voxels are one in memory

CALLS = {
    "edt": lambda huge: edt(huge, ndim=2, dtype=torch.float64),
    "maps": lambda huge: signed_distance_maps(huge, 2),
    "loss": lambda huge: boundary_loss(
        torch.zeros(1, device=DEVICE).expand(1, 2, SIDE, SIDE), huge, softmax=True
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_is_torchs_out_of_memory_error_and_the_next_call_works(name):
    huge = torch.zeros(1, dtype=torch.uint8, device=DEVICE).expand(1, SIDE, SIDE)
    small = torch.ones(1, 9, 33, dtype=torch.uint8, device=DEVICE)
    small[..., 16] = 0
    expected = edt(small, ndim=2)
    with pytest.raises(torch.OutOfMemoryError) as error:
        CALLS[name](huge)
    assert "out of memory" in str(error.value)
    assert re.search(r"\d+(\.\d+)? *([GT]iB|bytes)", str(error.value)), str(error.value)
    assert_same_bits(edt(small, ndim=2), expected)
