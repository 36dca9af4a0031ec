"""After fork: a child computes although the parent's threads did not come with it.

Torch's own parallel operators hang in such a child, for OpenMP does not survive a fork. So the
children here compare bytes; and providers that compose maps and losses in torch are asked for those
on one thread, as the workers of a DataLoader are.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PREAMBLE = """
import os, sys, threading
import torch
torch.set_num_threads(2)
import fastdist
from fastdist import providers

def volume(size):
    g = torch.arange(size)
    z, y, x = torch.meshgrid(g, g, g, indexing="ij")
    return ((z * 7 + y * 13 + x * 29) % 97 > 3).to(torch.uint8)

def transforms():
    return [
        fastdist.edt(mask, ndim=3),
        fastdist.edt_labels(mask, (1.5, 1.0, 0.7), ndim=3),
        fastdist.edt(mask, ndim=3, return_indices=True)[1],
    ]

def composed():
    maps = fastdist.signed_distance_maps(mask[None], 2)
    value = fastdist.losses.BoundaryLoss(softmax=True)(logits, mask[None, None])
    return [maps, value.detach(), *torch.autograd.grad(value, logits)]

def compute():
    found = transforms()
    if os.getpid() != parent and providers.current() != "extension":
        torch.set_num_threads(1)
    return [tensor.numpy().tobytes() for tensor in found + composed()]

parent = os.getpid()

mask = volume(SIZE)
logits = torch.linspace(-2, 2, 2 * mask.numel()).view(1, 2, *mask.shape).requires_grad_()
"""

FORKED = """
expected = compute()
child = os.fork()
if child == 0:
    ok = compute() == expected
    grandchild = os.fork()  # a worker of a worker
    if grandchild == 0:
        os._exit(0 if compute() == expected else 4)
    ok = ok and os.waitpid(grandchild, 0)[1] == 0
    os._exit(0 if ok else 3)
assert os.waitpid(child, 0)[1] == 0, "the child computed something else"
assert compute() == expected, "the parent did, afterwards"
print("done")
"""

FIRST_IN_THE_CHILD = """
child = os.fork()
if child == 0:
    compute()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
compute()
print("done")
"""

FORKED_WHILE_COMPUTING = """
expected = compute()
stop = threading.Event()
def busy():
    while not stop.is_set():
        compute()
thread = threading.Thread(target=busy)
thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if compute() == expected else 3)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print("done")
"""

LOADER = """
class Maps(torch.utils.data.Dataset):
    def __len__(self):
        return 6
    def __getitem__(self, i):
        return fastdist.signed_distance(mask.roll(i, 0), ndim=3), i

expected = [fastdist.signed_distance(mask.roll(i, 0), ndim=3) for i in range(6)]
loader = torch.utils.data.DataLoader(
    Maps(), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60
)
for _ in range(2):
    for maps, numbers in loader:
        for map_, i in zip(maps, numbers):
            assert torch.equal(map_, expected[i])
    compute()
print("done")
"""


def run(provider: str, script: str) -> None:
    size = 12 if provider == "reference" else 96
    environment = {
        **os.environ,
        "FASTDIST_PROVIDER": provider,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE.replace("SIZE", str(size)) + script],
            capture_output=True, text=True, timeout=90, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"did not finish: {late.stderr!r}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done"


@pytest.mark.slow
def test_a_child_computes_after_the_parent_used_two_threads(provider):
    run(provider, FORKED)


@pytest.mark.slow
def test_the_parent_computes_after_a_child_did_first(provider):
    run(provider, FIRST_IN_THE_CHILD)


@pytest.mark.slow
def test_a_child_computes_while_another_thread_of_the_parent_does(quick):
    run(quick, FORKED_WHILE_COMPUTING)


@pytest.mark.slow
def test_workers_of_a_data_loader_compute(provider):
    run(provider, LOADER)
