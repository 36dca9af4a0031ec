"""Want of memory: an error with the bytes asked for, no output touched, and the next call works."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fastdist
from fastdist.functional import boundary_loss

# 2^40 voxels of one byte of memory.
LABELS = torch.zeros(1, dtype=torch.uint8).expand(1, 2**20, 2**20)
LOGITS = torch.zeros(1).expand(1, 2, 2**20, 2**20)

CALLS = {
    "boundary_loss": lambda: boundary_loss(LOGITS, LABELS, softmax=True),
    "boundary_loss, gradient": lambda: boundary_loss(
        LOGITS.detach().requires_grad_(), LABELS, softmax=True
    ),
    "edt": lambda: fastdist.edt(LABELS, ndim=2),
    "edt, indices": lambda: fastdist.edt(LABELS, ndim=2, return_indices=True),
    "edt_labels": lambda: fastdist.edt_labels(LABELS, ndim=2),
    "signed_distance": lambda: fastdist.signed_distance(LABELS, ndim=2),
    "signed_distance_maps": lambda: fastdist.signed_distance_maps(LABELS, 3),
    "distance_transform_edt": lambda: fastdist.distance_transform_edt(LABELS[0]),
    "distance_transform_edt of an array": lambda: fastdist.distance_transform_edt(
        np.broadcast_to(np.zeros(1, np.uint8), (2**20, 2**20))
    ),
    "check_labels": lambda: fastdist.check_labels(LABELS, 2),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_memory_that_cannot_be_had(call, provider):
    with pytest.raises(torch.OutOfMemoryError, match=r"^fastdist: out of memory: .*\d+") as caught:
        call()
    assert "site-packages" not in str(caught.value)
    small = fastdist.edt(torch.tensor([0, 1, 1]), ndim=1)
    assert torch.equal(small, torch.tensor([0.0, 1.0, 2.0]))


UNDER_A_LIMIT = """
import resource
import torch
import fastdist

torch.set_num_threads(1)
mask = torch.rand(96, 160, 192, generator=torch.Generator().manual_seed(1)) < 0.1
channels = mask[None, None].to(torch.uint8)
small = mask[:4, :4, :4].clone()
calls = {{
    "signed_distance": lambda out: fastdist.signed_distance(mask, {spacing}, ndim=3, out=out),
    "edt": lambda out: fastdist.edt(mask, {spacing}, ndim=3, out=out),
    "maps": lambda out: fastdist.signed_distance_maps(
        channels, 1, {spacing}, onehot=True, normalize="max", zero="inner", out=out[None, None]
    ),
}}
out = torch.full(mask.shape, -9.0)
before = fastdist.signed_distance(small, ndim=3)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
refused = 0
for room in range(0, 24 << 20, 1 << 19):
    for name, call in calls.items():
        out.fill_(-9.0)
        resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
        try:
            call(out)
        except torch.OutOfMemoryError as error:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            refused += 1
            assert "out of memory" in str(error), error
            assert (out == -9.0).all(), (name, room)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        assert torch.equal(fastdist.signed_distance(small, ndim=3), before)
print("refused", refused)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
@pytest.mark.parametrize("spacing", ["None", "(0.8, 0.46875, 0.46875)"])
def test_an_output_is_whole_or_untouched(spacing):
    # On one thread: without room for a new thread's thread-local data glibc ends the process.
    script = UNDER_A_LIMIT.format(spacing=spacing)
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert int(answer.stdout.split()[1]) > 0, "no limit was low enough"


HELPERS_WITHOUT_MEMORY = r"""
#include "cpu/threads.h"

#include <atomic>
#include <cstdio>
#include <thread>

int main() {
  const auto caller = std::this_thread::get_id();
  std::atomic<int> done[64] = {}, refused{0};
  fastdist::Threads{4}.loop(64, 1, [&](int64_t begin, int64_t end) {
    if (std::this_thread::get_id() != caller) {
      ++refused;
      throw std::bad_alloc();
    }
    if (begin == 0) while (refused == 0) std::this_thread::yield();
    for (int64_t i = begin; i < end; ++i) ++done[i];
  });
  for (auto& times : done)
    if (times != 1) return 1;
  if (refused < 1 || refused > 3) return 2;
  try {
    fastdist::Threads{4}.loop(64, 1, [&](int64_t, int64_t) { throw std::bad_alloc(); });
  } catch (const std::bad_alloc&) {
    return 0;
  }
  return 3;
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_what_helping_threads_find_no_memory_for_the_caller_does(tmp_path):
    source = tmp_path / "helpers.cpp"
    source.write_text(HELPERS_WITHOUT_MEMORY)
    program = tmp_path / "helpers"
    csrc = Path(__file__).parent.parent / "csrc"
    subprocess.run(
        ["g++", "-std=c++20", "-O1", "-pthread", f"-I{csrc}", source, "-o", program], check=True
    )
    for _ in range(20):
        assert subprocess.run([program], check=False, timeout=60).returncode == 0
