"""Where the cases of a GPU run: on the device at their size, or tiny on the host, to rehearse."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.gpu import clock as clocks
from benchmarks.gpu import targets
from benchmarks.gpu.clock import Clock, DeviceEntrant

SHRINK = 16  # a rehearsal's axes are shorter by this factor


@dataclass
class Stage:
    """The device, its clock, and how large things are on it."""

    device: str
    rehearsal: bool

    @cached_property
    def clock(self) -> Clock:
        return clocks.Cuda() if self.device == "cuda" else clocks.Host()

    @cached_property
    def name(self) -> str:
        """What the device calls itself: by that it is judged."""
        return torch.cuda.get_device_name() if self.device == "cuda" else self.device

    def floors(self, wanted: dict[str, float]) -> dict[str, float]:
        return targets.floors(wanted, self.name)

    @property
    def slow_peers(self) -> bool:
        """Whether those that compute on the CPU, for seconds, take part: FASTDIST_SLOW_PEERS=0."""
        return os.environ.get("FASTDIST_SLOW_PEERS", "1") != "0"

    def size(self, shape: Sequence[int], least: int = 6) -> tuple[int, ...]:
        return tuple(max(least, n // SHRINK) if self.rehearsal else n for n in shape)

    def count(self, batch: int) -> int:
        return min(batch, 2) if self.rehearsal else batch

    def labels(self, batch: int, shape: Sequence[int], classes: int) -> Tensor:
        """(batch, *shape) uint8 class indices, each class in many pieces."""
        grain = 4 if self.rehearsal else 16
        items = [inputs.classes(shape, classes, grain, seed=100 * i) for i in range(batch)]
        return torch.from_numpy(np.stack(items))

    def working_sets(self, tensor: Tensor, bytes_of_one: int) -> list[Tensor]:
        """Copies on the device, enough for each to have left the cache when it is used again."""
        number = clocks.copies(self.clock, bytes_of_one)
        return [tensor.to(self.device, copy=True) for _ in range(number)]

    def outputs(self, like: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
        return [torch.zeros(tuple(shape), device=self.device) for _ in like]

    def entrant(self, name: str, call: Callable[[int], Any], **options: Any) -> DeviceEntrant:
        return DeviceEntrant(name, call=call, clock=self.clock, **options)


def images(name: str, batch: int, shape: Sequence[int]) -> Tensor:
    """(batch, *shape) uint8: one of the adversarial inputs, each item rolled to another place."""
    image = torch.from_numpy(np.ascontiguousarray(inputs.ADVERSARIAL[name](tuple(shape))))
    if batch == 1:
        return image[None]
    if "corner" in name:
        return image.expand(batch, *shape).contiguous()
    axes = tuple(range(len(shape)))
    return torch.stack(
        [image.roll(tuple(i * (n // 3 + 1) for n in shape), axes) for i in range(batch)]
    )


def worst(want: Tensor, got: Any) -> float:
    """The largest error, relative to the distance where that exceeds 1, found on the device."""
    if isinstance(got, np.ndarray):
        got = torch.from_numpy(got)
    assert got.shape == want.shape, f"{tuple(got.shape)} instead of {tuple(want.shape)}"
    largest = torch.zeros((), dtype=torch.float64)
    for g, w in zip(got.detach(), want, strict=True):
        g = g.to(w.device, torch.float32)
        error = ((g - w).abs() / w.abs().clamp(min=1)).max()
        assert not error.isnan(), "NaN"
        largest = torch.maximum(largest, error.double().cpu())
    return float(largest)
