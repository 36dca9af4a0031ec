"""The other libraries, each as the fastest form of the same task that its documentation offers.

A peer that is not installed is None; `install` says how to get it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

install = {
    "scipy": "pip install scipy",
    "edt": "pip install edt",
    "cv2": "pip install opencv-python-headless",
    "SimpleITK": "pip install SimpleITK",
    "monai": "pip install monai==1.6.1",
    "exacta": "pip install exacta==0.0.1a5 --no-deps",
    "numba": "pip install numba",
}


def module(name: str) -> Any:
    """The library, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def pin(threads: int) -> None:
    """The same number of threads for everybody (`edt` is told in each call)."""
    torch.set_num_threads(threads)
    if (cv2 := module("cv2")) is not None:
        cv2.setNumThreads(threads)
    if (numba := module("numba")) is not None:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if (sitk := module("SimpleITK")) is not None:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


Step = Sequence[float]


def scipy_signed(mask: np.ndarray, sampling: Step | None = None) -> np.ndarray:
    """Kervadec's recipe: two transforms and a sum, -(d_bg - h) inside (float64)."""
    from scipy.ndimage import distance_transform_edt

    inside = mask.astype(bool)
    if not inside.any() or inside.all():
        return np.zeros(mask.shape)
    h = min(sampling) if sampling is not None else 1.0
    outside = ~inside
    outer = distance_transform_edt(outside, sampling) * outside
    return outer - (distance_transform_edt(inside, sampling) - h) * inside


def scipy_signed_batch(masks: np.ndarray) -> np.ndarray:
    return np.stack([scipy_signed(mask) for mask in masks])


def scipy_class_maps(labels: np.ndarray, count: int) -> np.ndarray:
    maps = np.empty((count, *labels.shape), np.float32)
    for label in range(count):
        maps[label] = scipy_signed(labels == label)
    return maps


def edt_unsigned(marked: np.ndarray, sampling: Step | None = None, threads: int = 1) -> np.ndarray:
    """`edt.edt(mask + 1)`: the magnitude of the signed map in one sweep; `marked` is mask + 1."""
    import edt

    anisotropy = (1.0,) * marked.ndim if sampling is None else tuple(sampling)
    return edt.edt(marked, anisotropy=anisotropy, parallel=threads)


def edt_unsigned_batch(marked: np.ndarray, threads: int = 1) -> list[np.ndarray]:
    return [edt_unsigned(image, None, threads) for image in marked]


def edt_sdf(mask: np.ndarray, sampling: Step | None = None, threads: int = 1) -> np.ndarray:
    import edt

    anisotropy = (1.0,) * mask.ndim if sampling is None else tuple(sampling)
    return edt.sdf(mask, anisotropy=anisotropy, parallel=threads)


def opencv_signed(masks: np.ndarray) -> Callable[[], np.ndarray]:
    """Two PRECISE transforms an image, into buffers that are there already: d_out - d_in + mask."""
    import cv2

    inverse = (1 - masks).astype(np.uint8)
    out = np.zeros(masks.shape, np.float32)
    inner = np.zeros(masks.shape[1:], np.float32)

    def call() -> np.ndarray:
        for mask, outside, result in zip(masks, inverse, out, strict=True):
            cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, dst=result)
            cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, dst=inner)
            cv2.subtract(result, inner, dst=result)
            cv2.add(result, mask, dst=result, dtype=cv2.CV_32F)
        return out

    return call


def magnitude(signed: np.ndarray, mask: np.ndarray, h: float = 1.0) -> np.ndarray:
    """What `edt.edt(mask + 1)` gives, from a signed map with the inside shifted by h."""
    return np.abs(signed - h * (mask != 0))
