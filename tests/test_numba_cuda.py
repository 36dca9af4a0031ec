"""The provider numba for CUDA tensors where there is no GPU: simulated, compiled, never waiting."""

import contextlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from cuda_support import needs_two_gpus
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("numba")

from fastdist.providers import numba_cuda, numba_cuda_probe
from fastdist.providers import numba_cuda_launch as launching

TESTS = Path(__file__).parent


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """A process of its own, where Numba reads its environment anew."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
        **variables,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, timeout=900, cwd=TESTS.parent, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_every_op_is_right_under_numbas_simulator():
    done = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_numba_cuda_values.py",
        "tests/test_numba_cuda_maps.py",
        NUMBA_ENABLE_CUDASIM="1", FASTDIST_REHEARSE="1", FASTDIST_TEST_PROVIDERS="reference",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"\d{3} passed.*", summary), summary
    assert "skipped" not in summary


# ------------------------------------------------------------------ on the device


class _OnTheDevice(TorchDispatchMode):
    """Every tensor that any operator takes or gives is on the device, here the meta device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor):
                assert leaf.device.type == "meta", f"{function}: a tensor on {leaf.device}"
        return result


UNIT, ODD = ([1.0, 1.0], False), ([0.7, 1.9], False)
PER_ITEM = ([1.0, 1.0], True)
PLAIN = ("shifted", "none", None, 0.0, 0.0, False)
CONVENTIONS = [
    PLAIN,
    ("inner", "max", 2.0, None, None, True),
    ("midpoint", "diagonal", None, 1.0, None, False),
]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c[0])
@pytest.mark.parametrize("geometry", [UNIT, ODD, PER_ITEM], ids=["unit", "odd", "per item"])
@pytest.mark.parametrize("ignore_index", [None, 2])
def test_the_host_reads_no_value_and_copies_none(convention, geometry, ignore_index, monkeypatch):
    launches = []

    def launch(kernel, work, *arguments):
        assert work > 0
        for value in arguments:
            if isinstance(value, torch.Tensor):
                assert value.is_contiguous()
                assert value.dtype in launching._TYPES
            else:
                assert type(value) in (int, float)
        launches.append(kernel)

    monkeypatch.setattr(launching, "on", lambda device: contextlib.nullcontext(launch))
    kernels = numba_cuda.IMPLEMENTATIONS
    space = (5, 6)
    # A meta tensor has no values: whoever asks for one gets an error.
    with _OnTheDevice():

        def new(*shape, dtype=torch.float32):
            return torch.empty(shape, dtype=dtype, device="meta")

        sampling, per_item = geometry
        rows = new(2, 2, dtype=torch.float64) if per_item else None
        labels = new(2, *space, dtype=torch.uint8)
        for distances in (new(2, *space), new(2, *space, dtype=torch.int64)):
            squared = not distances.is_floating_point()
            for op in ("edt_out", "edt_labels_out"):
                kernels[op](labels, 2, sampling, rows, squared, convention[-1], distances)
            indices = new(2, 2, *space, dtype=torch.int32)
            kernels["edt_indices_out"](
                labels, 2, sampling, rows, squared, False, distances, indices
            )
        logits = new(2, 3, *space, dtype=torch.float16)
        for target, layout in ((labels, "labels"), (new(2, 3, *space), "above_half")):
            for valid in (None, new(2, *space, dtype=torch.bool)):
                known = (target, valid, layout, 0, ignore_index if layout == "labels" else None)
                for activation in ("softmax", "sigmoid", "none"):
                    sums, _, _, maps = kernels["boundary_loss"](
                        logits, *known, activation, sampling, rows, *convention
                    )
                    kernels["weighted_sums"](logits, maps, *known, activation)
                    kernels["weighted_sums_backward"](sums, logits, maps, *known, activation)
    assert len(launches) > 20


class _Numba:
    """What the launcher uses of numba.cuda, remembering what it is asked."""

    def __init__(self):
        self.gpus = [contextlib.nullcontext(), contextlib.nullcontext()]
        self.launched = []

    def external_stream(self, pointer):
        return f"stream {pointer}"

    def legacy_default_stream(self):
        return "legacy"

    def as_cuda_array(self, memory, sync):
        assert not sync
        return memory.__cuda_array_interface__

    def __getitem__(self, configuration):
        return lambda *arguments: self.launched.append((configuration, arguments))


@pytest.mark.parametrize(
    ("work", "blocks"), [(1, 128), (2**15, 128), (2**15 + 1, 129), (2**40, 2**16)]
)
@pytest.mark.parametrize(("pointer", "stream"), [(0, "legacy"), (77, "stream 77")])
def test_a_launch_names_torchs_stream_and_shares_memory(work, blocks, pointer, stream, monkeypatch):
    fake = _Numba()
    monkeypatch.setattr("numba.cuda", fake, raising=False)
    monkeypatch.setattr(numba_cuda_probe, "unusable", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", lambda index: contextlib.nullcontext())
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=pointer)
    )
    tensor = torch.zeros(3, 4, dtype=torch.int64)
    with launching.on(torch.device("cuda", 1)) as launch:
        launch(fake, work, tensor, 5, 0.5)
    ((configuration, (array, *numbers)),) = fake.launched
    assert configuration == (blocks, 256, stream)
    assert numbers == [5, 0.5]
    assert array == {
        "version": 2, "shape": (12,), "strides": None, "typestr": "<i8",
        "data": (tensor.data_ptr(), False),
    }  # fmt: skip


# ------------------------------------------------------------------ whether it can work here


def test_it_says_why_it_is_not_available(monkeypatch):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert numba_cuda.available() == "torch finds no CUDA device"
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert "NUMBA_ENABLE_CUDASIM" in numba_cuda.available()
    with (
        pytest.raises(RuntimeError, match="NUMBA_ENABLE_CUDASIM"),
        launching.on(torch.device("cuda", 0)),
    ):
        pass
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install numba" in numba_cuda.available()


def test_importing_the_provider_imports_no_numba():
    script = "import sys, fastdist.providers.numba_cuda; print('numba' in sys.modules)"
    provider = "extension" if (TESTS.parent / "fastdist/_extension.so").exists() else "reference"
    done = python("-c", script, FASTDIST_PROVIDER=provider)
    assert done.stdout.strip() == "False", done.stderr


@needs_two_gpus
@pytest.mark.parametrize("index", [0, 1])
def test_the_tensors_device_need_not_be_the_current_one(index):
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[2, 3] = False
    on_device = mask.to(f"cuda:{index}")
    distances = torch.empty(mask.shape, device=on_device.device)
    for current in (0, 1):
        with torch.cuda.device(current):
            numba_cuda.edt_out(on_device, 2, [1.0, 1.0], None, False, False, distances)
            assert distances[0, 0].item() == pytest.approx(13**0.5)
            assert torch.cuda.current_device() == current
