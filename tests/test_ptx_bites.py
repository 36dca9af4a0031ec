"""What the executor of PTX finds: every barrier taken out of every kernel, one at a time, and
planted misaligned addresses, bounds and masks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor

from fastdist import edt, edt_labels, providers, signed_distance_maps
from fastdist.losses import BoundaryLoss
from fastdist.providers import ptx

if reason := ptx.available():
    pytest.skip(reason, allow_module_level=True)

Call = Callable[[], Tensor | tuple[Tensor, ...]]
SHARED = "FASTDIST_PTX_SHARED_BYTES"


def _random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))


def _blocks(*space: int) -> Tensor:
    """Labels 0, 1 and 2 in coarse blocks with speckle, [2, *space] int64."""
    coarse = _random(2, *(-(-n // 8) for n in space))
    for axis, n in enumerate(space, 1):
        coarse = coarse.repeat_interleave(8, axis).narrow(axis, 0, n)
    return (torch.where(_random(2, *space) < 0.1, _random(2, *space), coarse) * 3).long()


def _one_site(*space: int) -> Tensor:
    mask = torch.ones(2, *space, dtype=torch.bool)
    mask[(0,) * (1 + len(space))] = False
    return mask


def _loss(classes: int, dtype: torch.dtype, *space: int, last: bool = False) -> Call:
    """Value and gradient of a loss; `last`: channels lie last."""
    labels = _blocks(*space).unsqueeze(1).clamp(max=classes - 1)
    logits = (4 * _random(2, classes, *space) - 2).to(dtype)
    if last:
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    loss = BoundaryLoss(sigmoid=True, to_onehot_y=classes > 1)

    def call() -> tuple[Tensor, ...]:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf, labels)
        return value.detach(), *torch.autograd.grad(value, leaf)

    return call


def _samplings(space: tuple[int, ...]) -> dict[str, list[float]]:
    """One for every arithmetic: exact in floats, in 32 bits, in 64 bits, any."""
    reach = sum((n + 16) ** 2 for n in space)
    steps = {"exact": 1.0, "int": float(int((1e9 / reach) ** 0.5)), "long": 90000.0}
    return {name: [step] * len(space) for name, step in steps.items()} | {
        "any": [0.7, 0.8, 1.1][-len(space) :]
    }


def _inputs() -> Iterator[tuple[str, Call]]:
    for space in ((44, 70), (9, 41, 37), (300, 33)):
        ndim, labels = len(space), _blocks(*space)
        # Rows of one class each: their columns' edges are all there is.
        stripes = (torch.arange(space[-2]) // 7 % 2).view(-1, 1).expand(1, *space).contiguous()
        masks = {"one site": _one_site(*space), "full": torch.ones(1, *space), "blocks": labels > 0}
        for name, sampling in _samplings(space).items():
            for dtype in (torch.float32, torch.float64):
                title, options = f"{name} {space} {dtype}", {"dtype": dtype, "sampling": sampling}
                for kind, image in (("blocks", labels), ("stripes", stripes)):
                    for more in ({}, {"ignore_index": 2}, {"zero": "inner", "border": True}):
                        call = partial(signed_distance_maps, image, 3, **options, **more)
                        yield f"{title} maps, {kind} {more}", call
                for kind, mask in masks.items():
                    for border in (False, True):
                        call = partial(
                            edt, mask, sampling, ndim=ndim, border=border, dtype=dtype
                        )
                        yield f"{title} edt, {kind} {border}", call
                for kind, image in (("blocks", labels), ("stripes", stripes)):
                    yield (
                        f"{title} labels, {kind}",
                        partial(edt_labels, image, sampling, ndim=ndim, dtype=dtype),
                    )
            call = partial(edt, labels, sampling, ndim=ndim, return_indices=True)
            yield f"{name} {space} indices", call
    one = torch.zeros(1, 20, 70, dtype=torch.int64)
    one[0, 5, 9] = 1
    yield "one voxel", partial(signed_distance_maps, one, 2, zero="inner")
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64, *FLOATS):
        for width in (70, 72, 80):  # bytes one by one, four, 16 at a time
            labels = _blocks(20, width).to(dtype)
            onehot = torch.stack([labels == c for c in range(3)], 1).to(dtype)
            yield f"maps {width} {dtype}", partial(signed_distance_maps, labels, 3)
            yield (
                f"channels {width} {dtype}",
                partial(signed_distance_maps, onehot, 3, onehot=True, normalize="max"),
            )
    for dtype in (torch.float32, torch.float16, torch.float64):
        for classes in (1, 2, 3, 4, 5, 8, 9):
            for last in (False, True):
                yield f"loss {classes} {dtype} {last}", _loss(classes, dtype, 36, 40, last=last)
        yield f"loss {dtype}, scattered", _loss(4, dtype, 33, 41)
        yield f"large loss {dtype}", _loss(2, dtype, 300, 260)


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _bits(results: Tensor | tuple[Tensor, ...]) -> list[bytes]:
    results = results if isinstance(results, tuple) else (results,)
    return [part.reshape(-1).view(torch.uint8).numpy().tobytes() for part in results]


class Reached:
    """Which inputs come by which instruction, and what they give."""

    def __init__(self, inputs: list[tuple[str, Call, int]]) -> None:
        self.right: list[list[bytes]] = []
        self.by: dict[tuple[str, int], list[int]] = {}
        self.known: dict[tuple[str, int], dict] = {}
        self.inputs = inputs
        for number in range(len(inputs)):
            with ptx.counting(races=True):
                self.right.append(_bits(self.run(number)))
            for one in ptx.instructions():
                if one["kernel"] == "toy":  # of test_ptx.py
                    continue
                key = (one["kernel"], one["place"])
                self.known.setdefault(key, one)
                if one["lanes"]:
                    self.by.setdefault(key, []).append(number)

    def run(self, number: int) -> Tensor | tuple[Tensor, ...]:
        _, call, shared = self.inputs[number]
        with pytest.MonkeyPatch.context() as patch, providers.forced("ptx"):
            patch.setenv(SHARED, str(shared))
            return call()

    def outcome(self, key: tuple[str, int], mistake: str) -> str:
        """What a mistake gives, with the first input that shows it: an error, or a wrong result."""
        for number in self.by[key]:
            with ptx.planted(*key, mistake):
                try:
                    if _bits(self.run(number)) != self.right[number]:
                        return "another result"
                except RuntimeError as error:
                    return str(error)
        return ""


@pytest.fixture(scope="module", params=os.environ.get("FASTDIST_PTX_ARCHS", "7.5 9.0").split())
def reached(request) -> Iterator[Reached]:
    before = os.environ.get("FASTDIST_PTX_ARCH") or "9.0"
    ptx.use_architecture(request.param)
    inputs = [(name, call, 232448) for name, call in _inputs()]
    # Columns that do not fit into shared memory; losses need some of it.
    inputs += [(name, call, 6000) for name, call, _ in inputs if "(300, 33)" in name]
    yield Reached(inputs)
    ptx.use_architecture(before)


def test_every_barrier_is_missed_when_it_is_left_out(reached):
    barriers = [k for k, one in reached.known.items() if one["kind"] in ("barrier", "warp sync")]
    assert len(barriers) > 100
    never = [reached.known[key] for key in barriers if key not in reached.by]
    assert never == [], "add an input that comes by"
    assert [reached.known[k] for k in barriers if not reached.outcome(k, "leave out")] == []


@pytest.mark.parametrize(
    ("mistake", "kinds", "says"),
    [
        ("misalign", ("memory",), "a misaligned address"),
        ("beyond", ("memory",), "out of bounds"),
        ("mask", ("shuffle", "vote", "warp sync"), "not among the members"),
    ],
)
def test_every_kind_of_mistake_is_named_in_every_kernel(reached, mistake, kinds, says):
    """In the first instruction of each opcode."""
    chosen: dict[tuple[str, str], tuple[str, int]] = {}
    for key in reached.by:
        one = reached.known[key]
        if one["kind"] in kinds and (mistake != "misalign" or one["bytes"] > 1):
            chosen.setdefault((one["kernel"], one["opcode"]), key)
    assert len(chosen) > 100
    outcomes = {key: reached.outcome(key, mistake) for key in chosen.values()}
    missed = {key: text for key, text in outcomes.items() if says not in text}
    assert missed == {}
    for (kernel, _), text in outcomes.items():
        assert f"kernel {kernel}, block " in text
        assert re.search(r"PTX line \d+ \(.*\), \S+:\d+", text), text
