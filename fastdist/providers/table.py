"""``python -m fastdist.providers.table > docs/providers.md``: which provider does what, by trying.

Each op of each provider that is available here is called on a small image, once for every dtype of
its main input and once for every dtype of its output: what runs is in the table, what does not is a
hole and is listed with the reason that the provider gives.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastdist import ops, providers

_NARROW = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_IMAGES = (*_NARROW, *_UNSIGNED, *_FLOATS)
_MAPS = (torch.float32, torch.float64)
_SQUARED = (*_MAPS, torch.int32, torch.int64)
_CONVENTION = ("shifted", "none", None, 0.0, 0.0, False)
_UNIT = [1.0, 1.0]

_INTRODUCTION = """\
# Who implements what

Made by `python -m fastdist.providers.table > docs/providers.md`, which calls every op of every
provider with every dtype. `FASTDIST_PROVIDER` chooses a provider; without it the first one that is
available answers, in the order of the columns. `python -m fastdist.info` says which one that is.
"""


def _image(dtype: torch.dtype) -> Tensor:
    image = torch.zeros(1, 3, 4, dtype=torch.int64)
    image[0, 1, 1:3] = 1
    return image.to(dtype)


def _edt(op: Callable) -> Callable[[torch.dtype, torch.dtype], None]:
    def call(image: torch.dtype, out: torch.dtype) -> None:
        distances = torch.empty(1, 3, 4, dtype=out)
        op(_image(image), 2, _UNIT, None, not out.is_floating_point, False, distances)

    return call


def _edt_indices(image: torch.dtype, out: torch.dtype) -> None:
    indices = torch.empty(2, 1, 3, 4, dtype=out)
    ops.edt_indices_out(_image(image), 2, _UNIT, None, False, False, torch.empty(1, 3, 4), indices)


def _signed_maps(layout: str) -> Callable[[torch.dtype, torch.dtype], None]:
    def call(image: torch.dtype, out: torch.dtype) -> None:
        target = _image(image) if layout == "labels" else _image(image)[:, None].expand(1, 2, 3, 4)
        maps = torch.empty(1, 2, 3, 4, dtype=out)
        ops.signed_maps_out(target, None, layout, 0, None, 2, _UNIT, None, *_CONVENTION, maps)

    return call


def _loss(op: str) -> Callable[[torch.dtype, torch.dtype], None]:
    def call(image: torch.dtype, logits: torch.dtype) -> None:
        input = torch.ones(1, 2, 3, 4, dtype=logits)
        target = (_image(image), None, "labels", 0, None)
        maps = torch.ones(1, 2, 3, 4, dtype=ops.accumulation_dtype(input))
        if op == "boundary_loss":
            ops.boundary_loss(input, *target, "softmax", _UNIT, None, *_CONVENTION)
        elif op == "weighted_sums":
            ops.weighted_sums(input, maps, *target, "softmax")
        else:
            grad = torch.ones(1, 2, dtype=maps.dtype)
            ops.weighted_sums_backward(grad, input, maps, *target, "softmax")

    return call


# op: what is called, what the first dtypes are of, what the second ones are of, and which those are
_Probe = tuple[str, Callable[[torch.dtype, torch.dtype], None], str, str, tuple[torch.dtype, ...]]
_PROBES: tuple[_Probe, ...] = (
    ("edt_out", _edt(ops.edt_out), "mask", "distances", _SQUARED),
    ("edt_indices_out", _edt_indices, "mask", "indices", (torch.int32, torch.int64)),
    ("edt_labels_out", _edt(ops.edt_labels_out), "labels", "distances", _SQUARED),
    ("signed_maps_out, labels", _signed_maps("labels"), "target", "maps", _MAPS),
    ("signed_maps_out, nonzero", _signed_maps("nonzero"), "target", "maps", _MAPS),
    ("signed_maps_out, above_half", _signed_maps("above_half"), "target", "maps", _MAPS),
    *(
        (op, _loss(op), "target", "input", _FLOATS)
        for op in ("weighted_sums", "weighted_sums_backward", "boundary_loss")
    ),
)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtypes(done: list[torch.dtype]) -> str:
    """The dtypes in words; the long lists have names."""
    if not done:
        return "none"
    if tuple(done) == _IMAGES:
        return "all"
    return ", ".join(map(_short, done))


def _cell(name: str, probe: _Probe, holes: list[str]) -> list[str]:
    """For one provider and op: the dtypes of the input, and those of the second tensor."""
    op, call, first, second, seconds = probe

    def works(argument: str, image: torch.dtype, other: torch.dtype, tried: torch.dtype) -> bool:
        try:
            call(image, other)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
            holes.append(f"* `{name}`, {op}, {argument} {_short(tried)}: {reason}")
            return False
        return True

    usual = torch.int32 if second == "indices" else torch.float32
    return [
        _dtypes([dtype for dtype in _IMAGES if works(first, dtype, usual, dtype)]),
        _dtypes([dtype for dtype in seconds if works(second, torch.uint8, dtype, dtype)]),
    ]


def markdown() -> str:
    """The page `docs/providers.md`."""
    holes: list[str] = []
    columns: dict[str, list[str]] = {}
    emulator = providers.module("emulator").available()
    for name, reason in {**providers.reasons(), "emulator": emulator}.items():
        title = f"{name} ({providers.module(name).DISPATCH_KEY})"
        if name == "emulator":
            title = "extension (CUDA), on the emulator"
        if reason is not None:
            columns[title] = ["not here"] * (2 * len(_PROBES))
            holes.append(f"* `{name}` was not available where this page was made: {reason}")
            continue
        with providers.forced(name):
            columns[title] = [cell for probe in _PROBES for cell in _cell(name, probe, holes)]
    lines = [
        "| op | dtypes of | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    row = 0
    for op, _, first, second, _ in _PROBES:
        for title, argument in ((op, first), ("", second)):
            cells = " | ".join(column[row] for column in columns.values())
            lines.append(f"| {title} | {argument} | {cells} |")
            row += 1
    holes.append(
        "* numba (CUDA) was not tried: it needs a GPU. It implements every op, and answers for "
        "CUDA tensors where the compiled library is absent or was built without CUDA."
    )
    everything = ", ".join(map(_short, _IMAGES))
    return "\n".join(
        [
            _INTRODUCTION,
            *lines,
            "",
            f'"all": {everything}. Logits (`input`) of the loss ops are read in their own type.',
            "",
            "## Holes, and why",
            "",
            *holes,
        ]
    )


if __name__ == "__main__":
    print(markdown())
