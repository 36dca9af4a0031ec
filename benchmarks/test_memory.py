"""Memory beyond what a call must give, each in a process of its own (Linux: reads /proc)."""

import sys

import pytest

from benchmarks import memory, ours, peers

pytestmark = [
    pytest.mark.rank(15),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

SIGNED = {ours.OURS: "fastdist", ours.EDT: "edt", ours.SCIPY: "scipy"}
LOSS = {ours.OURS: "fastdist", peers.MONAI: "monai", peers.EXACTA: "exacta"}


@pytest.mark.parametrize("size", [128, 256])
def test_scratch_of_a_signed_map(size, keep, threads, full):
    if size != 256 and not full:
        pytest.skip("with --full")
    found = {
        name: memory.measured("signed", who, size, threads)
        for name, who in SIGNED.items()
        if peers.module(who) is not None
    }
    keep(
        f"memory, signed map, {size}^3, beyond the output",
        _result(found, size**3, 4 * size**3 + memory.SLACK),
    )


@pytest.mark.parametrize("size", [64, 128])
def test_loss_beyond_the_gradient(size, keep, threads):
    voxels = 2 * 5 * size**3
    found = {
        name: memory.measured("loss", who, size, threads)
        for name, who in LOSS.items()
        if peers.module(who) is not None and (size < 128 or who == "fastdist")
    }
    keep(
        f"memory, boundary loss, B2 C5 {size}^3, beyond the gradient",
        _result(found, voxels, 5 * voxels + 2**25),
    )


def _result(found, voxels, allowed):
    """`allowed` bytes; the floor is told as the allowance over what was used."""
    used = max(found[ours.OURS], memory.SLACK // 2)  # below that, nothing is known
    ratio = allowed / used
    return {
        "task": "memory",
        "voxels": voxels,
        "ours": ours.OURS,
        "memory": {
            name: {"beyond": beyond, "bytes_per_voxel": beyond / voxels}
            for name, beyond in found.items()
        },
        "floors": {
            "allowed / used": {
                "wanted": 1,
                "wall": ratio,
                "cpu": ratio,
                "wall_met": ratio >= 1,
                "cpu_met": ratio >= 1,
            }
        },
    }
