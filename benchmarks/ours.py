"""fastdist's entrants, and the checks that every entrant of a signed map passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import fastdist
from benchmarks import peers
from benchmarks.contest import LONG, Entrant
from benchmarks.memory import peak_beyond
from fastdist import providers

OURS = "fastdist"
FRESH = "fastdist, new output"


def entrants(
    mask: np.ndarray, ndim: int, want: np.ndarray | None, sampling: Sequence[float] | None = None
) -> list[Entrant]:
    """A signed map into `out=`, and one into a new tensor; `want` is the map it must be."""
    image = torch.from_numpy(mask)
    out = torch.zeros(mask.shape)
    options: dict[str, Any] = {"ndim": ndim, "sampling": sampling}
    check = None if want is None else partial(difference, want)
    return [
        Entrant(OURS, lambda: fastdist.signed_distance(image, out=out, **options), check),
        Entrant(FRESH, lambda: fastdist.signed_distance(image, **options), check),
    ]


def numba_entrant(
    mask: np.ndarray, ndim: int, want: np.ndarray, sampling: Sequence[float] | None = None
) -> Entrant:
    """The same by the provider numba, into `out=`."""
    image, out = torch.from_numpy(mask), torch.zeros(mask.shape)

    def call() -> torch.Tensor:
        return fastdist.signed_distance(image, sampling, ndim=ndim, out=out)

    return Entrant(
        "fastdist, numba",
        call,
        partial(difference, want),
        within=lambda: providers.forced("numba"),
        warm_up=True,
    )


def difference(want: np.ndarray, got: Any) -> float:
    """The largest error, relative to the distance where that exceeds 1."""
    got = np.asarray(got)
    assert got.shape == want.shape, f"{got.shape} instead of {want.shape}"
    worst = 0.0
    for g, w in zip(got.reshape(len(got), -1), want.reshape(len(want), -1), strict=True):
        worst = max(worst, float(np.max(np.abs(g - w) / np.maximum(1.0, np.abs(w)), initial=0)))
    return worst


def edt_entrant(
    mask: np.ndarray, want: np.ndarray, sampling: Sequence[float] | None, threads: int
) -> Entrant:
    """`edt.edt(mask + 1)`; the sum is made beforehand and costs it nothing."""
    marked = mask + 1
    h = min(sampling) if sampling is not None else 1.0
    return Entrant(
        EDT,
        lambda: peers.edt_unsigned(marked, sampling, threads),
        lambda got: difference(peers.magnitude(want, mask, h), got),
    )


def itk_and_diplib(
    mask: np.ndarray, want: np.ndarray, sampling: Sequence[float] | None, threads: int
) -> list[Entrant]:
    """SimpleITK, of whose map only the outside follows our convention, and DIPlib where it fits."""
    found = []
    if peers.module("SimpleITK") is not None:
        outside = mask == 0

        def error(got: np.ndarray) -> float:
            return difference(np.where(outside, want, 0), np.where(outside, got, 0))

        found.append(Entrant(ITK, peers.itk_signed(mask, sampling), error))
    if peers.module("diplib") is not None and sampling is None:
        check = partial(difference, want)
        found.append(Entrant("DIPlib", peers.diplib_signed(mask, threads), check))
    return found


EDT = "edt.edt(mask + 1)"
ITK = "SimpleITK SignedMaurer"
SCIPY = "SciPy"
BIOIMAGE = "bioimage-cpp"
OPENCV = "OpenCV PRECISE"
FLOOR = "read and write alone"


def bioimage(
    mask: np.ndarray,
    sampling: float | Sequence[float],
    threads: int,
    check: Callable[[Any], float],
) -> list[Entrant]:
    """bioimage-cpp with indices, where it is installed."""
    if peers.module("bioimage_cpp") is None:
        return []
    return [Entrant(BIOIMAGE, peers.bioimage_indices(mask, sampling, threads), check)]


def needed(name: str) -> None:
    """Skip, with a line that says how to install what is missing."""
    if peers.module(name) is None:
        pytest.skip(f"{name} is not installed: {peers.install[name]}")


def missing(*names: str) -> dict[str, str]:
    """The peers that are not installed, and how to install them."""
    return {name: peers.install[name] for name in names if peers.module(name) is None}


def floor_entrant(mask: np.ndarray) -> Entrant:
    """No transform at all: each voxel read and a float32 written for it."""
    image, out = torch.from_numpy(mask), torch.zeros(mask.shape)
    return Entrant(FLOOR, lambda: out.copy_(image))


class Once:
    """An oracle that is also an entrant: the first call's result is kept for the checks."""

    def __init__(self, call: Callable[[], np.ndarray], name: str = SCIPY) -> None:
        self.entrant = Entrant(name, call)
        self.want, self.entrant.peak = peak_beyond(self.entrant.once)
        self.entrant.error = 0.0
        self.entrant.first = self._counted  # type: ignore[method-assign]

    def _counted(self) -> None:
        """It has been called once already, which counts where it is too long to be repeated."""
        if self.entrant.samples["cpu"][0] < LONG:
            self.entrant.forget()
