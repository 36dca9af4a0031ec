"""The other libraries on the device: CuPy as it comes and tuned, exacta, and plain copies.

Each function makes an entrant, or several, of working sets that are there already. A peer that is
not installed makes none; `benchmarks.peers.install` says how to get it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.gpu.clock import Clock, DeviceEntrant

COPY = "device copy of the same bytes"
CUPY = "CuPy"
TUNED = "CuPy, tuned"
STREAMS = "CuPy, tuned, 8 streams"


def copy_entrant(count: int, clock: Clock, slots: int, device: str) -> DeviceEntrant:
    """A copy that moves `count` bytes, half of them read, half of them written."""
    pairs = [
        [torch.zeros(max(1, count // 2), dtype=torch.uint8, device=device) for _ in range(2)]
        for _ in range(slots)
    ]
    call = lambda slot: pairs[slot][0].copy_(pairs[slot][1])  # noqa: E731
    return DeviceEntrant(COPY, call=call, clock=clock, slots=slots)


def cupy_entrants(
    masks: Sequence[Tensor],
    ndim: int,
    sampling: Sequence[float] | None,
    check: Callable[[Any], float],
    clock: Clock,
) -> tuple[list[DeviceEntrant], dict[str, Any]]:
    """Signed maps of (n, *S) masks, one working set each: two transforms an image, in a loop.

    The complement is made beforehand. Tuned: float32 distances into arrays that are there, and the
    block parameters that were fastest on the first image, which are the second thing returned.
    """
    if not _answers(masks[0]):
        return [], {}
    make = partial(DeviceEntrant, check=check, clock=clock, slots=len(masks))
    inverse = [1 - mask for mask in masks]
    h = min(sampling) if sampling is not None else 1.0
    step = None if sampling is None else tuple(sampling)

    def default(slot: int) -> Tensor:
        found = []
        for mask, complement in zip(masks[slot], inverse[slot], strict=True):
            outer, inner = (_transform(one, step, None, None) for one in (complement, mask))
            found.append(outer.sub_(inner).add_(mask, alpha=h))
        return torch.stack(found)

    results = [torch.empty(mask.shape, device=mask.device) for mask in masks]
    inner = [torch.empty_like(masks[0][0], dtype=torch.float32) for _ in range(8)]
    parameters = _fastest(masks[0][0], inner[0], step, ndim, clock)

    def one(slot: int, item: int, scratch: Tensor) -> None:
        result, mask = results[slot][item], masks[slot][item]
        _transform(inverse[slot][item], step, parameters, result)
        _transform(mask, step, parameters, scratch)
        result.sub_(scratch).add_(mask, alpha=h)

    def tuned(slot: int) -> Tensor:
        for item in range(len(masks[slot])):
            one(slot, item, inner[0])
        return results[slot]

    entrants = [make(CUPY, call=default), make(TUNED, call=tuned)]
    if len(masks[0]) > 1 and clock.kind == "cuda":
        entrants.append(make(STREAMS, call=_streamed(one, len(masks[0]), inner, results)))
    return entrants, {"cupy_block_params": list(parameters)}


def _answers(mask: Tensor) -> bool:
    """Whether CuPy is there and takes this tensor: it knows no CPU (a test's stand-in does)."""
    cupy = peers.module("cupy")
    return cupy is not None and (mask.is_cuda or not hasattr(cupy, "cuda"))


def _transform(
    mask: Tensor, step: Sequence[float] | None, parameters: Any, out: Tensor | None
) -> Tensor:
    """One call of CuPy's, on torch's memory and on torch's current stream."""
    import cupy
    from cupyx.scipy.ndimage import distance_transform_edt

    image = cupy.from_dlpack(mask)
    if out is None:
        return torch.from_dlpack(distance_transform_edt(image, step))
    distance_transform_edt(
        image,
        step,
        distances=cupy.from_dlpack(out),
        float64_distances=False,
        block_params=parameters,
    )
    return out


def block_parameters(shape: Sequence[int]) -> list[tuple[int, int, int]]:
    """What is tried: (m1, m2, 16) in 2-D, within what CuPy allows, and (1, 1, 8), (1, 1, 16)."""
    if len(shape) == 3:
        return [(1, 1, 2), (1, 1, 8), (1, 1, 16)]
    bands = max(1, -(-max(shape) // 32))
    power = 1 << (bands.bit_length() - 1)  # a power of two keeps the padding as it is
    m2 = min(power, 32)
    found = [(m1, m2, min(16, power)) for m1 in {power, min(power, 32), min(power, 16)}]
    return sorted({*found, (power, m2, min(2, power))})


def _fastest(
    mask: Tensor, out: Tensor, step: Sequence[float] | None, ndim: int, clock: Clock
) -> tuple[int, int, int]:
    best, chosen = float("inf"), (1, 1, 1)
    for parameters in block_parameters(mask.shape):
        call = partial(_transform, mask, step, parameters, out)
        try:
            call()
        except (ValueError, RuntimeError):  # a size that these parameters do not divide
            continue
        seconds = min(clock.device_seconds([call] * 2, 1e-3) for _ in range(3))
        if seconds < best:
            best, chosen = seconds, parameters
    return chosen


def _streamed(
    one: Callable[[int, int, Tensor], None],
    count: int,
    scratch: list[Tensor],
    results: list[Tensor],
) -> Callable[[int], Tensor]:
    """The images of a batch dealt to eight streams, which meet again on torch's current one."""
    import cupy

    streams = [torch.cuda.Stream() for _ in scratch]

    def call(slot: int) -> Tensor:
        main = torch.cuda.current_stream()
        for stream in streams:
            stream.wait_stream(main)
        for item in range(count):
            stream = streams[item % len(streams)]
            with torch.cuda.stream(stream), cupy.cuda.ExternalStream(stream.cuda_stream):
                one(slot, item, scratch[item % len(streams)])
        for stream in streams:
            main.wait_stream(stream)
        return results[slot]

    return call


def exacta_maps(
    channels: Sequence[Tensor],
    sampling: Sequence[float] | None,
    check: Callable[[Any], float],
    clock: Clock,
) -> list[DeviceEntrant]:
    """Signed maps of (B, C, *S) masks: no shift, and the outside of the image is background."""
    if peers.module("exacta") is None:
        return []
    from exacta.losses import distance_maps

    step = tuple(sampling) if sampling is not None else (1.0,) * (channels[0].dim() - 2)

    def call(slot: int) -> Tensor:
        return distance_maps(channels[slot], spacing=step, signed=True)

    return [DeviceEntrant(peers.EXACTA, call=call, check=check, clock=clock, slots=len(channels))]
