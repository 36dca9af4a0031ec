"""Threads whose columns have two lengths, and a first call ever that is recorded as a graph."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from cuda_support import (
    DEVICE,
    REHEARSE,
    assert_same_bits,
    current_stream,
    needs_cuda,
    new_stream,
    on,
)

from fastdist import edt, signed_distance

ROOT = Path(__file__).resolve().parent.parent
TIMES = 2 if REHEARSE else 300

pytestmark = needs_cuda


@pytest.mark.parametrize("function", [edt, signed_distance])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_columns_of_320_and_500_rows_in_two_threads(function, dtype):
    """Both need more shared memory than a kernel has unasked, and not the same."""
    generator = torch.Generator().manual_seed(0)
    masks = [torch.rand(2, n, 96, generator=generator) > 0.01 for n in (320, 500)]
    masks = [mask.to(DEVICE) for mask in masks]
    expected = [function(mask, 0.7, ndim=2, dtype=dtype) for mask in masks]
    streams = [new_stream() for _ in masks]
    for stream in streams:
        stream.wait_stream(current_stream())

    def work(i: int):
        with on(streams[i]):
            got = [function(masks[i], 0.7, ndim=2, dtype=dtype) for _ in range(TIMES)]
        streams[i].synchronize()
        return got

    with ThreadPoolExecutor(len(masks)) as pool:
        for answers, wanted in zip(pool.map(work, range(len(masks))), expected, strict=True):
            for got in answers:
                assert_same_bits(got, wanted)


FIRST = """
import sys, torch
from cuda_calls import CALLS, batch
from cuda_support import DEVICE, REHEARSE, assert_same_bits
call, kept = CALLS[sys.argv[1]], batch((500, 40), DEVICE, seed=1)
kept.logits.softmax(1).sum()  # torch's own first call, not ours
if REHEARSE:
    got = call(kept)
else:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = call(kept)
    kept.copy_(batch((500, 40), DEVICE, seed=2))
    graph.replay()
    torch.cuda.synchronize()
assert_same_bits(got, call(kept))
print("the same bits")
"""


@pytest.mark.parametrize("name", ["edt, spacing", "signed_distance", "maps", "loss, softmax"])
def test_the_first_call_ever_of_a_process_is_recorded_as_a_graph(name):
    """Kernels are loaded, and allowed all shared memory, while the stream is being captured."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", FIRST, name],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "the same bits" in done.stdout, done.stderr[-3000:]
