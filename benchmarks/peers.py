"""The other libraries, each as the fastest form of the same task that its documentation offers.

A peer that is not installed is None; `install` says how to get it.
"""

from __future__ import annotations

import importlib
import warnings
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
    "diplib": "pip install diplib",
    "kornia": "pip install kornia",
    "bioimage_cpp": "pip install bioimage-cpp",
    "torchmetrics": "pip install torchmetrics",
    "FastGeodis": "pip install FastGeodis --no-build-isolation (compiles; setuptools<75)",
    "cupy": "pip install cupy-cuda13x (or cupy-cuda12x)",
    "cucim": "pip install cucim-cu13 (or cucim-cu12)",
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


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # logits (B, C, *S), labels (B, *S)


def exacta_loss() -> tuple[str, Loss] | None:
    """exacta's boundary loss: no shift inside, and the outside of the image is background."""
    if module("exacta") is None:
        return None
    from exacta.losses import BoundaryLoss

    theirs = BoundaryLoss(activation="softmax", target_format="index", include_background=True)
    return EXACTA, lambda x, y: theirs(x, y, spacing=(1.0,) * (x.dim() - 2))


def monai_loss() -> tuple[str, Loss] | None:
    """MONAI's boundary loss, named with the library that computes its maps here."""
    if module("monai") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.losses import BoundaryLoss

    on_gpu = torch.cuda.is_available() and module("cucim.core.operations.morphology")
    theirs = BoundaryLoss(softmax=True, to_onehot_y=True)
    return (MONAI_CUCIM if on_gpu else MONAI), lambda x, y: theirs(x, y[:, None])


EXACTA, MONAI, MONAI_CUCIM = "exacta", "MONAI with SciPy", "MONAI with cuCIM"


def tried(failed: dict[str, str], name: str, make: Callable[[], Any], otherwise: Any) -> Any:
    """What `make` gives; where a peer fails to start, its reason is kept and the case goes on."""
    try:
        return make()
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return otherwise


def approximate_transforms(mask: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Distances to the nearest zero of a 2-D or 3-D mask by libraries that only come near them."""
    found: dict[str, Callable[[], np.ndarray]] = {}
    image = torch.from_numpy(mask)
    if (kornia := module("kornia")) is not None:
        sources = (1 - image).float()[None, None]
        found["kornia"] = lambda: kornia.contrib.distance_transform(sources)[0, 0].numpy()
    if module("torchmetrics") is not None and mask.ndim == 2 and mask.size <= 2**14:
        from torchmetrics.functional.segmentation.utils import distance_transform

        found["torchmetrics"] = lambda: distance_transform(image).numpy()
    if (geodis := module("FastGeodis")) is not None:
        transform = (geodis.generalised_geodesic2d, geodis.generalised_geodesic3d)[mask.ndim - 2]
        soft = image.float()[None, None]
        step = () if mask.ndim == 2 else ((1.0, 1.0, 1.0),)
        found["FastGeodis"] = lambda: transform(soft * 0, soft, *step, 1e10, 0.0, 2)[0, 0].numpy()
    return found


def diplib_transform(mask: np.ndarray, threads: int = 1) -> Callable[[], np.ndarray]:
    """DIPlib's exact transform; outside of the image lies object, as SciPy sees it."""
    import diplib

    diplib.SetNumberOfThreads(threads)
    image = diplib.Image(mask.astype(bool))
    return lambda: np.asarray(diplib.EuclideanDistanceTransform(image, "object", "separable"))


def bioimage_indices(
    mask: np.ndarray, sampling: float | Step | None = None, threads: int = 1
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Distances (float32) and indices by bioimage-cpp, into arrays that are there already."""
    from bioimage_cpp.distance import distance_transform

    distances = np.zeros(mask.shape, np.float32)
    indices = np.zeros((mask.ndim, *mask.shape), np.int32)

    def call() -> tuple[np.ndarray, np.ndarray]:
        distance_transform(
            mask, sampling, return_indices=True, distances=distances, indices=indices,
            number_of_threads=threads,
        )  # fmt: skip
        return distances, indices

    return call


def diplib_signed(mask: np.ndarray, threads: int = 1) -> Callable[[], np.ndarray]:
    """Two transforms and two sums; the complement is made beforehand."""
    inner, outer = diplib_transform(mask, threads), diplib_transform(1 - mask, threads)
    return lambda: outer() - inner() + mask


def itk_signed(mask: np.ndarray, sampling: Step | None = None) -> Callable[[], np.ndarray]:
    """SignedMaurer: inside, the distance to the object's own outermost voxels."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(mask)
    if sampling is not None:
        image.SetSpacing([float(h) for h in reversed(sampling)])

    def call() -> np.ndarray:
        found = SimpleITK.SignedMaurerDistanceMap(
            image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
        return SimpleITK.GetArrayFromImage(found)

    return call
