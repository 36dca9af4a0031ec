"""Scratch beyond the output, and threads beyond torch's, each measured in its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Peak resident memory of `call` beyond what stood before it, in bytes.
MEASURE = """
import gc, json, os, sys, threading, time
import torch
torch.set_num_threads(THREADS)
import fastdist

def status(key):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(key):
                return int(line.split()[1]) * 1024

def peak_beyond(call):
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    before = status("VmRSS")
    result = call()
    return max(0, status("VmHWM") - before), result

def blobs(*shape):
    g = [torch.arange(n).view([-1 if a == i else 1 for a in range(len(shape))])
         for i, n in enumerate(shape)]
    return (sum((x // 5) ** 2 for x in g) % 11 > 6).to(torch.uint8)
"""

SIGNED = """
from itertools import product
conventions = [{}, {"border": True}, {"normalize": "max", "clip": 9.0}, {"zero": "midpoint"}]
found = {}
for shape, spacing in [((240, 256, 256), None), ((240, 256, 256), (1.0, 1.0, 3.0)),
                       ((4096, 4096), None), ((4096, 4096), (0.5, 2.0))]:
    labels, out = blobs(*shape), torch.zeros(shape)
    for options in conventions:
        def call(x, y):
            fastdist.signed_distance(x, spacing, ndim=len(shape), out=y, **options)
        call(blobs(*[8] * len(shape)), torch.zeros([8] * len(shape)))
        beyond, _ = peak_beyond(lambda: call(labels, out))
        found[f"{shape} {spacing} {options}"] = (beyond, 4 * labels.numel())
print(json.dumps(found))
"""

LOSS = """
labels = blobs(2, 96, 96, 96)[:, None].long()
logits = torch.randn(2, 5, 96, 96, 96).requires_grad_()
loss = fastdist.losses.BoundaryLoss(softmax=True)
def step(x, y):
    loss(x, y).backward()
step(torch.randn(2, 5, 8, 8, 8).requires_grad_(), labels[..., :8, :8, :8])
beyond, _ = peak_beyond(lambda: step(logits, labels))
print(json.dumps({"beyond": beyond - logits.numel() * 4, "voxels": logits.numel()}))
"""

THREADS_AT_WORK = """
labels = blobs(160, 160, 160)
out = torch.zeros(labels.shape)
def call():
    fastdist.signed_distance(labels, (2.0, 1.0, 0.5), ndim=3, out=out)

call()  # compiled, threads started
whole, own = time.process_time(), time.thread_time()
while time.process_time() - whole < 1.0:
    call()
whole, own = time.process_time() - whole, time.thread_time() - own
print(json.dumps({"others": (whole - own) / whole}))
"""


def measure(provider: str, script: str, threads: int = 1) -> dict:
    text = MEASURE.replace("THREADS", str(threads)) + script
    environment = {
        **os.environ,
        "FASTDIST_PROVIDER": provider,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def extension(provider):
    if provider != "extension":
        pytest.skip("the promise is the compiled extension's")
    return provider


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_signed_map_needs_four_bytes_a_voxel(threads, extension):
    for case, (beyond, allowed) in measure(extension, SIGNED, threads).items():
        # A few pages of stacks and of the allocator do not grow with the volume.
        assert beyond <= allowed + 2**21, f"{case}: {4 * beyond / allowed:.2f} bytes a voxel"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_fused_loss_needs_five_bytes_a_class_and_voxel(threads, extension):
    found = measure(extension, LOSS, threads)
    assert found["beyond"] <= 5 * found["voxels"] + 2**25, found["beyond"] / found["voxels"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_on_one_thread_no_other_works(quick):
    assert measure(quick, THREADS_AT_WORK, threads=1)["others"] < 0.05


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core only")
def test_two_threads_share_the_work(quick):
    assert measure(quick, THREADS_AT_WORK, threads=2)["others"] > 0.25
