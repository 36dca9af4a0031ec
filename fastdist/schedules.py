"""How the weight of a boundary loss against a regional loss moves over the epochs of a run.

The three strategies of Kervadec et al., "Boundary loss for highly unbalanced segmentation",
MIDL 2019 (https://arxiv.org/abs/1812.07032). The weight is a tensor that ``step`` overwrites in
place, so that a compiled or captured training step reads the new value without being rebuilt.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fastdist import checks


class _Schedule(nn.Module):
    """A weight that moves evenly from ``start`` to ``stop`` over ``epochs`` epochs, then stays."""

    alpha: Tensor
    epoch: Tensor

    def __init__(self, epochs: int, start: float, stop: float) -> None:
        super().__init__()
        self.epochs = checks.integer("epochs", epochs)
        if self.epochs < 1:
            raise ValueError(f"epochs: got {epochs}, expected at least 1")
        self.start = start
        self.stop = stop
        self.register_buffer("alpha", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("epoch", torch.tensor(0, dtype=torch.int64))

    @torch.no_grad()
    def step(self) -> None:
        """Move on to the next epoch; call it once at the end of each."""
        self.epoch += 1
        # The last of `epochs` epochs trains with `stop` itself; lerp is exact at both ends.
        progress = (self.epoch / max(self.epochs - 1, 1)).clamp(max=1)
        start, stop = (torch.full_like(self.alpha, value) for value in (self.start, self.stop))
        self.alpha.copy_(torch.lerp(start, stop, progress.to(self.alpha.dtype)))

    def combine(self, regional: Tensor, boundary: Tensor) -> Tensor:
        """``regional + alpha * boundary``."""
        regional, boundary = _terms(regional, boundary)
        return regional + self.alpha * boundary

    def extra_repr(self) -> str:
        return f"epochs={self.epochs}, start={self.start}, stop={self.stop}"


def _terms(regional: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor]:
    """Two losses that can be added, without their subclasses; a number is as good."""
    terms = []
    for name, loss in (("regional", regional), ("boundary", boundary)):
        if isinstance(loss, Tensor):
            terms.append(checks.image_tensor(name, loss, checks.FLOATS))
        else:
            terms.append(torch.tensor(checks.number(name, loss, "a torch.Tensor")))
    devices = {loss.device for loss in terms if loss.dim() or loss.device.type != "cpu"}
    if len(devices) > 1:
        raise ValueError(f"regional, boundary: got {devices}, expected tensors on one device")
    try:
        torch.broadcast_shapes(terms[0].shape, terms[1].shape)
    except RuntimeError:
        raise ValueError(
            f"regional, boundary: got shapes {tuple(terms[0].shape)} and {tuple(terms[1].shape)}, "
            "expected two that can be added"
        ) from None
    return terms[0], terms[1]


class RebalanceSchedule(_Schedule):
    """``alpha * regional + (1 - alpha) * boundary``, alpha falling from 1 to a floor.

    The paper takes 0.01 an epoch in runs of about 100 epochs. Here the decrement is scaled to the
    length of the run: the first epoch trains with ``start``, the last with ``floor``, and so does
    every epoch after it.

    Parameters
    ----------
    epochs : int
        How many epochs the run has; ``step`` is called after each.
    start : float
        alpha in the first epoch, in [0, 1].
    floor : float
        alpha in the last epoch, in [0, start]. The boundary loss alone empties the foreground, so
        keep it above 0.

    Attributes
    ----------
    alpha : Tensor
        The weight, a float32 tensor without dimensions. It is a buffer: ``.to(device)`` moves it
        (a CUDA graph must find it on the GPU), ``state_dict`` holds it and the epoch.

    Examples
    --------
    >>> schedule = RebalanceSchedule(epochs=100)
    >>> for _ in range(25):  # one training epoch, then:
    ...     schedule.step()
    >>> round(schedule.alpha.item(), 4)
    0.75
    >>> round(schedule.combine(torch.tensor(2.0), torch.tensor(-4.0)).item(), 4)
    0.5
    """

    def __init__(self, epochs: int, *, start: float = 1.0, floor: float = 0.01) -> None:
        start, floor = checks.number("start", start), checks.number("floor", floor)
        if not 0 <= start <= 1:
            raise ValueError(f"start: got {start}, expected a number in [0, 1]")
        if not 0 <= floor <= start:
            raise ValueError(f"floor: got {floor}, expected a number in [0, start], start={start}")
        super().__init__(epochs, start, floor)

    def combine(self, regional: Tensor, boundary: Tensor) -> Tensor:
        """``alpha * regional + (1 - alpha) * boundary``."""
        regional, boundary = _terms(regional, boundary)
        return self.alpha * regional + (1 - self.alpha) * boundary


class IncreaseSchedule(_Schedule):
    """``regional + alpha * boundary``, alpha growing from 0.01 to 1.

    Parameters
    ----------
    epochs : int
        How many epochs the run has; ``step`` is called after each.
    start, stop : float
        alpha in the first and in the last epoch, ``0 <= start <= stop``.

    Attributes
    ----------
    alpha : Tensor
        The weight, a float32 tensor without dimensions; a buffer, see `RebalanceSchedule`.

    Examples
    --------
    >>> schedule = IncreaseSchedule(epochs=100)
    >>> for _ in range(9):
    ...     schedule.step()
    >>> round(schedule.alpha.item(), 4)
    0.1
    """

    def __init__(self, epochs: int, *, start: float = 0.01, stop: float = 1.0) -> None:
        start, stop = checks.number("start", start), checks.number("stop", stop)
        if not 0 <= start < math.inf:
            raise ValueError(f"start: got {start}, expected a number of at least 0")
        if not start <= stop < math.inf:
            raise ValueError(f"stop: got {stop}, expected a number of at least start={start}")
        super().__init__(epochs, start, stop)


class ConstantSchedule(_Schedule):
    """``regional + alpha * boundary`` with the same alpha in every epoch.

    Parameters
    ----------
    alpha : float
        The weight, at least 0.

    Attributes
    ----------
    alpha : Tensor
        The weight, a float32 tensor without dimensions; a buffer, see `RebalanceSchedule`.

    Examples
    --------
    >>> schedule = ConstantSchedule(0.1)
    >>> schedule.step()
    >>> round(schedule.combine(torch.tensor(2.0), torch.tensor(-4.0)).item(), 4)
    1.6
    """

    def __init__(self, alpha: float = 0.01) -> None:
        alpha = checks.number("alpha", alpha)
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha: got {alpha}, expected a number of at least 0")
        super().__init__(1, alpha, alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.start}"
