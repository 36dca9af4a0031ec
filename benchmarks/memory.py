"""Peak memory of one call beyond what it must return, measured in a process of its own.

``python -m benchmarks.memory signed|loss LIBRARY SIZE THREADS`` prints the bytes. The kernel's
record of the peak resident size is reset just before the call; what the call returns (the map, or
the logits' gradient) is taken off.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SLACK = 2**21  # pages of stacks and of the allocator, which do not grow with the volume


def measured(task: str, library: str, size: int, threads: int = 1) -> int:
    """Bytes, from a new process."""
    root = Path(__file__).parent.parent
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", task, library, str(size), str(threads)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout.split()[-1])


def peak_beyond(call: Callable[[], Any]) -> tuple[Any, int | None]:
    """What the call returns, and the bytes resident at most beyond those before, or None."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
    except (OSError, KeyError):
        return call(), None
    kept = call()
    return kept, max(0, _status("VmHWM") - before)


@contextmanager
def kept_pages() -> Iterator[None]:
    """Let glibc keep the pages that are freed, where it is glibc that runs.

    As it comes it returns a network's large activations to the system and takes them anew in every
    step; what that costs depends on who ran before, and exceeds what a loss adds.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        yield
        return
    trim, mmap_threshold, mmap_max = -1, -3, -4  # <malloc.h>
    mallopt(mmap_max, 0)
    mallopt(trim, 2**31 - 1)
    try:
        yield
    finally:  # what a process that has freed large arrays has come to by itself
        mallopt(mmap_max, 65536)
        mallopt(mmap_threshold, 2**25)
        mallopt(trim, 2**26)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def signed(library: str, size: int, threads: int) -> int:
    """Beyond a float32 map of a uint8 volume; ours writes into an output that is there already."""
    import torch

    import fastdist
    from benchmarks import inputs, peers

    def call(mask: Any, out: Any) -> Any:
        if library == "fastdist":
            return fastdist.signed_distance(torch.from_numpy(mask), ndim=3, out=out)
        if library == "edt":
            return peers.edt_unsigned(mask, None, threads)
        return peers.scipy_signed(mask)

    def image(n: int) -> Any:
        mask = inputs.blobs((n, n, n))
        return mask + 1 if library == "edt" else mask

    peers.pin(threads)
    call(image(16), torch.zeros(16, 16, 16))
    mask, out = image(size), torch.zeros(size, size, size)
    beyond = peak_beyond(lambda: call(mask, out))[1] or 0
    result = {"fastdist": 0, "edt": 4, "scipy": 8}[library]
    return beyond - result * mask.size


def loss(library: str, size: int, threads: int) -> int:
    """Beyond the logits' gradient, forward and backward, two items of five classes."""
    import torch

    import fastdist
    from benchmarks import inputs, peers

    peers.pin(threads)
    if library == "fastdist":
        function = fastdist.losses.BoundaryLoss(softmax=True)
    elif library == "monai":
        from monai.losses import BoundaryLoss

        function = BoundaryLoss(softmax=True, to_onehot_y=True)
    else:
        from exacta.losses import BoundaryLoss as Theirs

        theirs = Theirs(include_background=True)

        def function(x, y):
            return theirs(x, y[:, 0], spacing=(1.0, 1.0, 1.0))

    def batch(n: int) -> tuple[Any, Any]:
        labels = torch.from_numpy(inputs.classes((n, n, n))).long().expand(2, 1, n, n, n)
        return torch.randn(2, 5, n, n, n).requires_grad_(), labels.contiguous()

    function(*batch(16)).backward()
    logits, labels = batch(size)
    beyond = peak_beyond(lambda: function(logits, labels).backward())[1] or 0
    return beyond - logits.numel() * 4


if __name__ == "__main__":
    chosen, who, length, number = sys.argv[1:5]
    print({"signed": signed, "loss": loss}[chosen](who, int(length), int(number)))
