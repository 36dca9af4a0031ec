"""How much of a training step a loss takes, its backward pass included."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Moment = float | torch.cuda.Event


class TimedLoss:
    """Calls ``loss(logits, labels)`` and adds up its seconds, forward and backward.

    The autograd engine runs a loss's backward steps one after the other, from the moment the
    gradient of its value is known until the gradient of its logits is: two hooks see both moments.
    On a GPU the moments are events on the stream, read when `seconds_so_far` asks: no step waits.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> None:
        self.loss = loss
        self.device = device
        self.total = 0.0
        self.intervals: list[tuple[Moment, Moment]] = []

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        own_logits = logits.view_as(logits)  # its gradient is this loss's alone
        forward = self.now()
        value = self.loss(own_logits, labels)
        self.intervals.append((forward, self.now()))
        if value.requires_grad:
            backward: list[Moment] = []
            value.register_hook(lambda _: backward.append(self.now()))
            own_logits.register_hook(lambda _: self.intervals.append((backward[0], self.now())))
        return value

    def now(self) -> Moment:
        """This moment: a clock's reading, or on a GPU an event."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds_so_far(self) -> float:
        """Seconds since the beginning; on a GPU this waits for it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.total += sum(elapsed(*interval) for interval in self.intervals)
        self.intervals.clear()
        return self.total


def elapsed(start: Any, stop: Any) -> float:
    """Seconds from one moment to the other."""
    if isinstance(start, torch.cuda.Event):
        return start.elapsed_time(stop) / 1000  # events count milliseconds
    return stop - start
