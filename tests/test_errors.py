"""Mistakes: the right exception names the argument, and nothing is written."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fastdist import (
    check_labels,
    check_spacing,
    edt,
    edt_labels,
    providers,
    signed_distance,
    signed_distance_maps,
)

MASK = torch.zeros(2, 6, 7, dtype=torch.int64)
MASK[:, 2:4, 3:5] = 1
MAPS = (2, 3, 6, 7)
MISTAKE = (ValueError, TypeError)
NAN, INF = float("nan"), float("inf")


def refuses(call, name: str, kind=MISTAKE, out: torch.Tensor | None = None) -> None:
    """The call raises this kind with the argument's name in it, and leaves `out` alone."""
    before = None if out is None else out.clone()
    with pytest.raises(kind) as raised:
        call()
    assert name in str(raised.value), raised.value
    if out is not None:
        assert torch.equal(out, before)


def room(*shape, dtype=torch.float32):
    return torch.full(shape, 7, dtype=dtype)


BATCHED = {
    "edt": lambda x, h=None, **k: edt(x, h, **{"ndim": 2, **k}),
    "edt_labels": lambda x, h=None, **k: edt_labels(x, h, **{"ndim": 2, **k}),
    "signed_distance": lambda x, h=None, **k: signed_distance(x, h, **{"ndim": 2, **k}),
}
ARGUMENT = {"edt": "mask", "edt_labels": "labels", "signed_distance": "mask"}


@pytest.fixture(params=BATCHED, ids=str)
def batched(request):
    return BATCHED[request.param]


@pytest.fixture
def into(batched):
    """The call with a valid output, which must survive the mistake."""
    return lambda out, *a, **k: batched(*a, out=out, **k)


@pytest.mark.parametrize("ndim", [0, 4, -1, 17])
def test_ndim_outside_one_to_three(ndim, into, provider):
    out = room(2, 6, 7)
    refuses(lambda: into(out, MASK, ndim=ndim), "ndim", ValueError, out)


@pytest.mark.parametrize("ndim", [None, 2.0, "2", True, torch.tensor(2)], ids=repr)
def test_ndim_that_is_no_integer(ndim, into, provider):
    out = room(2, 6, 7)
    refuses(lambda: into(out, MASK, ndim=ndim), "ndim", TypeError, out)


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("shape", [(), (4,), (4, 5)], ids=str)
def test_fewer_axes_than_ndim(name, shape, provider):
    refuses(lambda: BATCHED[name](torch.ones(shape), ndim=len(shape) + 1), ARGUMENT[name])


BAD_SAMPLINGS = {
    "too long": (1.0, 2.0, 3.0),
    "too short": (1.0,),
    "no number at all": (),
    "zero": 0,
    "a zero": (1.0, 0.0),
    "negative": (-1.0, 1.0),
    "nan": NAN,
    "a nan": (1.0, NAN),
    "infinite": (INF, 1.0),
    "minus infinity": (-INF, 1.0),
    "a word": "wide",
    "words": ("a", "b"),
    "nested": ((1.0, 2.0), (1.0, 2.0)),
    "None inside": (None, 1.0),
    "an object": object(),
    "complex": 1j,
    "array of two axes": np.ones((2, 2)),
    "tensor: other batch": torch.ones(3, 2),
    "tensor: other rank": torch.ones(2, 3),
    "tensor: three axes": torch.ones(2, 1, 2),
    "tensor: too long": torch.ones(5),
    "tensor: a zero": torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
    "tensor: negative": torch.tensor([[1.0, 1.0], [-2.0, 1.0]]),
    "tensor: nan": torch.tensor([[1.0, 1.0], [1.0, NAN]]),
    "tensor: infinite": torch.tensor([[INF, 1.0], [1.0, 1.0]]),
    "tensor: complex": torch.ones(2, 2, dtype=torch.complex64),
    "tensor: bool": torch.ones(2, 2, dtype=torch.bool),
    "tensor: other device": torch.ones(2, 2, device="meta"),
}


# What a spacing tensor holds only its device knows.
_VALUES = [f"tensor: {name}" for name in ("a zero", "negative", "nan", "infinite")]
bad_samplings = pytest.mark.parametrize(
    "sampling",
    [
        pytest.param(value, id=name, marks=[pytest.mark.asks_values] if name in _VALUES else [])
        for name, value in BAD_SAMPLINGS.items()
    ],
)


@bad_samplings
def test_sampling(sampling, into, provider):
    out = room(2, 6, 7)
    refuses(lambda: into(out, MASK, sampling), "sampling", MISTAKE, out)


@bad_samplings
def test_sampling_of_signed_distance_maps(sampling, provider):
    out = room(*MAPS)
    refuses(lambda: signed_distance_maps(MASK, 3, sampling, out=out), "sampling", MISTAKE, out)


@bad_samplings
def test_sampling_with_indices(sampling, provider):
    out = room(2, 6, 7), room(2, 2, 6, 7, dtype=torch.int32)
    for part in out:
        refuses(
            lambda: edt(MASK, sampling, ndim=2, return_indices=True, out=out),
            "sampling", MISTAKE, part,
        )  # fmt: skip


def test_what_came_and_what_was_expected_is_said():
    with pytest.raises(ValueError, match=r"sampling.*\(3, 2\).*\(2, 2\)"):
        edt(MASK, torch.ones(3, 2), ndim=2)
    with pytest.raises(ValueError, match=r"sampling.*meta.*cpu|sampling.*\.to\("):
        edt(MASK, torch.ones(2, 2, device="meta"), ndim=2)
    with pytest.raises(ValueError, match=r"ndim.*\b5\b"):
        edt(MASK, ndim=5)


BAD_OUTPUTS = {
    "other shape": lambda: torch.empty(2, 6, 8),
    "other rank": lambda: torch.empty(6, 7),
    "transposed": lambda: torch.empty(2, 7, 6).transpose(1, 2),
    "every second": lambda: torch.empty(2, 6, 14)[..., ::2],
    "expanded": lambda: torch.zeros(1, 6, 7).expand(2, 6, 7),
    "int16": lambda: torch.empty(2, 6, 7, dtype=torch.int16),
    "float16": lambda: torch.empty(2, 6, 7, dtype=torch.float16),
    "bool": lambda: torch.empty(2, 6, 7, dtype=torch.bool),
    "int32 for what is no square": lambda: torch.empty(2, 6, 7, dtype=torch.int32),
    "other device": lambda: torch.empty(2, 6, 7, device="meta"),
    "needs a gradient": lambda: torch.empty(2, 6, 7, requires_grad=True),
    "an array": lambda: np.empty((2, 6, 7), np.float32),
    "a number": lambda: 3.0,
    "a pair": lambda: (torch.empty(2, 6, 7), torch.empty(2, 6, 7)),
}


@pytest.mark.parametrize("make", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS.keys())
def test_outputs(make, batched, provider):
    out = make()
    if isinstance(out, torch.Tensor) and out.device.type == "cpu":
        with torch.no_grad():
            out = out.fill_(0) if 0 not in out.stride() else out
        refuses(lambda: batched(MASK, out=out), "out", MISTAKE, out)
    else:
        refuses(lambda: batched(MASK, out=out), "out")


@pytest.mark.parametrize("make", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS.keys())
def test_outputs_of_signed_distance_maps(make, provider):
    refuses(lambda: signed_distance_maps(MASK, 3, out=make()), "out")


def test_an_output_that_is_the_input(batched, provider):
    mask = MASK.float()
    refuses(lambda: batched(mask, out=mask), "out", ValueError, mask)


def test_an_output_that_contradicts_dtype(batched, provider):
    out = room(2, 6, 7, dtype=torch.float64)
    refuses(lambda: batched(MASK, dtype=torch.float32, out=out), "out", MISTAKE, out)


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.complex64, "float32", 3],
    ids=str,
)
def test_dtype(dtype, into, provider):
    out = room(2, 6, 7)
    refuses(lambda: into(out, MASK, dtype=dtype), "dtype", MISTAKE, out)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int32, "float32"], ids=str)
def test_dtype_of_signed_distance_maps(dtype, provider):
    refuses(lambda: signed_distance_maps(MASK, 3, dtype=dtype), "dtype")


@pytest.mark.parametrize("function", [edt, edt_labels])
@pytest.mark.parametrize(
    "sampling", [0.5, (1.0, 2.5), torch.tensor([[1.0, 1.0], [1.0, 1.5]])], ids=str
)
def test_squared_integers_need_unit_sampling(function, sampling, provider):
    out = room(2, 6, 7, dtype=torch.int32)
    squares = partial(function, MASK, sampling, ndim=2, squared=True)
    refuses(lambda: squares(out=out), "out", MISTAKE, out)
    refuses(lambda: squares(dtype=torch.int32), "dtype")


def test_squared_distances_that_int32_cannot_hold(provider):
    mask = torch.zeros(46342, 1)
    out = room(46342, 1, dtype=torch.int32)
    refuses(lambda: edt(mask, ndim=2, squared=True, out=out), "out", MISTAKE, out)
    refuses(lambda: edt(mask, ndim=2, squared=True, dtype=torch.int32), "dtype")


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize(
    "image",
    [None, 3, "mask", [[0, 1], [1, 1]], np.ones((2, 6, 7)),
     torch.ones(2, 6, 7, dtype=torch.complex64), torch.ones(6, 7).to_sparse()],
    ids=["None", "number", "word", "list", "array", "complex", "sparse"],
)  # fmt: skip
def test_images_that_are_no_dense_real_tensors(name, image, provider):
    refuses(lambda: BATCHED[name](image), ARGUMENT[name], TypeError)


# ------------------------------------------------------------------ edt with indices


def test_indices_with_border(provider):
    out = room(2, 6, 7), room(2, 2, 6, 7, dtype=torch.int32)
    for part in out:
        refuses(
            lambda: edt(MASK, ndim=2, border=True, return_indices=True, out=out),
            "border", ValueError, part,
        )  # fmt: skip


BAD_PAIRS = {
    "one tensor": lambda: room(2, 6, 7),
    "three": lambda: (room(2, 6, 7), room(2, 2, 6, 7, dtype=torch.int32), room(1)),
    "indices of another shape": lambda: (room(2, 6, 7), room(2, 6, 7, dtype=torch.int32)),
    "indices of int16": lambda: (room(2, 6, 7), room(2, 2, 6, 7, dtype=torch.int16)),
    "indices of float32": lambda: (room(2, 6, 7), room(2, 2, 6, 7)),
    "indices not contiguous": lambda: (
        room(2, 6, 7), room(2, 6, 7, 2, dtype=torch.int32).movedim(-1, 0)
    ),
    "distances of another shape": lambda: (room(6, 7), room(2, 2, 6, 7, dtype=torch.int32)),
    "no distances": lambda: (None, room(2, 2, 6, 7, dtype=torch.int32)),
}  # fmt: skip


@pytest.mark.parametrize("make", BAD_PAIRS.values(), ids=BAD_PAIRS.keys())
def test_outputs_with_indices(make, provider):
    out = make()
    parts = [part for part in (out if isinstance(out, tuple) else (out,)) if part is not None]
    for part in parts:
        refuses(lambda: edt(MASK, ndim=2, return_indices=True, out=out), "out", MISTAKE, part)


# ------------------------------------------------------------------ checks and providers


def test_check_labels_asks():
    check_labels(MASK, 2)
    check_labels(MASK * 200, 2, ignore_index=200)
    check_labels(torch.zeros(0, 4), 1)
    check_labels(MASK.float(), 2)
    for wrong in (MASK + 1, MASK - 1, MASK * 0.5, MASK * NAN):
        refuses(lambda: check_labels(wrong, 2), "labels", ValueError)  # noqa: B023
    with pytest.raises(ValueError, match=r"255.*\b2\b"):
        check_labels(MASK * 255, 2, ignore_index=7)


def test_check_spacing_asks():
    check_spacing(1.0)
    check_spacing((0.5, 3))
    check_spacing(torch.ones(4, 3))
    for wrong in (0, -1.0, (1.0, NAN), (INF, 1), torch.tensor([[1.0, 0.0]])):
        refuses(lambda: check_spacing(wrong), "spacing", ValueError)  # noqa: B023


def test_an_unknown_provider_is_named():
    with pytest.raises(ValueError, match="abacus"), providers.forced("abacus"):
        pass


def test_a_provider_that_is_missing_says_why(monkeypatch):
    active = providers.current()
    other = next(name for name in providers.available() if name != active)
    monkeypatch.setattr(providers.module(other), "available", lambda: "it was taken away")
    with pytest.raises(RuntimeError, match=f"{other}.*it was taken away"), providers.forced(other):
        pass
    assert providers.current() == active
    assert other not in providers.available()
    assert providers.reasons()[other] == "it was taken away"


# ------------------------------------------------------------------ the compiled ops themselves

# Called past the Python functions: an error at worst, never a write outside of the output. In a
# process of its own, which such a write would take down.
MISUSE = """
import torch
import fastdist

OPS = torch.ops.fastdist
mask = torch.ones(2, 9, 11, dtype=torch.uint8)
labels = torch.zeros(2, 9, 11, dtype=torch.int64)
plain = ("shifted", "none", None, 0.0, 0.0, False)
for dtype in (torch.float16, torch.int16, torch.uint8, torch.bfloat16, torch.bool):
    out = torch.zeros(2, 9, 11, dtype=dtype)
    for call in (
        lambda: OPS.edt_out(mask, 2, [1.0, 1.0], None, False, False, out),
        lambda: OPS.edt_out(mask, 2, [1.0, 1.0], None, True, False, out),
        lambda: OPS.edt_labels_out(labels, 2, [1.0, 1.0], None, False, False, out),
        lambda: OPS.edt_indices_out(
            mask, 2, [1.0, 1.0], None, False, False, torch.zeros(2, 9, 11),
            torch.zeros(2, 2, 9, 11, dtype=dtype),
        ),
        lambda: OPS.edt_indices_out(
            mask, 2, [1.0, 1.0], None, False, False, out,
            torch.zeros(2, 2, 9, 11, dtype=torch.int32),
        ),
        lambda: OPS.signed_maps_out(
            labels, None, "labels", 0, None, 2, [1.0, 1.0], None, *plain, out[:, None].contiguous()
        ),
    ):
        try:
            call()
        except (ValueError, TypeError, RuntimeError):
            continue
        raise AssertionError(f"{dtype} was accepted")
for shape in [(2, 9, 10), (1, 9, 11), (9, 11), (0,)]:
    for op, image in ((OPS.edt_out, mask), (OPS.edt_labels_out, labels)):
        try:
            op(image, 2, [1.0, 1.0], None, False, False, torch.zeros(shape))
        except (ValueError, TypeError, RuntimeError):
            continue
        raise AssertionError(f"{shape} was accepted")
print("done")
"""


def test_the_compiled_ops_refuse_outputs_they_cannot_write(provider):
    if provider != "extension":
        pytest.skip("providers in Python cannot write outside of a tensor")
    root = Path(__file__).parent.parent
    environment = {
        **os.environ,
        "FASTDIST_PROVIDER": provider,
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", MISUSE], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done"
