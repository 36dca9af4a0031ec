"""Signed maps of one mask: against `edt`, SciPy, DIPlib and ITK, in 2-D against OpenCV too."""

from functools import partial

import numpy as np
import pytest

from benchmarks import inputs, ours, peers, real
from benchmarks.contest import Case, Entrant
from benchmarks.ours import EDT, OPENCV, SCIPY

pytestmark = pytest.mark.rank(5)

CUBE = (256, 256, 256)
ANISOTROPIC = (1.0, 1.0, 3.0)

STRONG = {EDT: 8, SCIPY: 80}
SPACED = {EDT: 6, SCIPY: 80}
CASES_3D = {  # image, spacing, floors
    "128^3 lesions, patient 19": (partial(inputs.lesions_3d, "19"), None, STRONG),
    "128^3 lesions, patient 07": (partial(inputs.lesions_3d, "07"), None, STRONG),
    "32^3 blobs": (partial(inputs.blobs, (32, 32, 32)), None, {}),
    "64^3 blobs": (partial(inputs.blobs, (64, 64, 64)), None, {}),
    "128^3 blobs": (partial(inputs.blobs, (128, 128, 128)), None, {}),
    "127x129x131 blobs": (partial(inputs.blobs, (127, 129, 131)), None, {}),
    "256^3 blobs": (partial(inputs.blobs, CUBE), None, STRONG),
    "256^3 noise": (partial(inputs.noise, CUBE), None, STRONG),
    "256^3 one seed": (partial(inputs.one_seed, CUBE), None, STRONG),
    "256^3 blobs, spacing (1,1,3)": (partial(inputs.blobs, CUBE), ANISOTROPIC, SPACED),
    "512^3 blobs": (partial(inputs.blobs, (512, 512, 512)), None, {}),
}
ONLY_FULL = ("512^3",)
OTHERS_UP_TO = 2**22  # voxels up to which the slower libraries are asked without --full


def _square(size):
    return inputs.blobs((size, size), grain=32)[None]


CASES_2D = {
    "16 x 256^2 lesions": (inputs.lesions_2d, {OPENCV: 8}),
    "2048^2 vessels": (lambda: inputs.vessels((2048, 2048))[None], {OPENCV: 8}),
    "256^2 blobs": (partial(_square, 256), {}),
    "512^2 blobs": (partial(_square, 512), {}),
    "1024^2 blobs": (partial(_square, 1024), {}),
    "2048^2 blobs": (partial(_square, 2048), {OPENCV: 8}),
    "4096^2 blobs": (partial(_square, 4096), {}),
    "1021x1531 blobs": (lambda: inputs.blobs((1021, 1531), grain=32)[None], {}),
}


@pytest.mark.parametrize("name", CASES_3D)
def test_3d(name, contest, threads, full):
    if name.startswith(ONLY_FULL) and not full:
        pytest.skip("with --full")
    make, sampling, floors = CASES_3D[name]
    contest(_case_3d(f"signed map, {name}", make(), sampling, floors, threads, full))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.rank(20)) for n in (*real.small(), *real.large())]
)
def test_real(name, contest, threads, full):
    """The foreground of real label maps, at their own spacing."""
    if name in real.large() and not full:
        pytest.skip("with --full")
    labels = real.load({**real.small(), **real.large()}[name])
    unit = set(labels.spacing) == {1.0}
    case = f"signed map, real, {name}"
    if labels.mask.ndim == 3:
        contest(_case_2d(case, labels.mask, {}, threads, full))
    else:
        spacing = None if unit else labels.spacing
        contest(_case_3d(case, labels.mask[0], spacing, {}, threads, full))


def _case_3d(name, mask, sampling, floors, threads, full):
    ours.needed("scipy")
    ours.needed("edt")
    oracle = ours.Once(lambda: peers.scipy_signed(mask, sampling))
    want = oracle.want
    field = [
        *ours.entrants(mask, 3, want, sampling),
        ours.edt_entrant(mask, want, sampling, threads),
        oracle.entrant,
        ours.floor_entrant(mask),
    ]
    if peers.module("numba") is not None:
        field.append(ours.numba_entrant(mask, 3, want, sampling))
    if full or mask.size <= OTHERS_UP_TO:
        field += ours.itk_and_diplib(mask, want, sampling, threads)
    if full:
        field.append(_sdf(mask, want, sampling, threads))
    return Case(
        name,
        "signed map, 3-D",
        field,
        mask.size,
        floors,
        details=_details(mask, sampling),
        missing=ours.missing("numba", "SimpleITK", "diplib"),
    )


def _sdf(mask, want, sampling, threads):
    h = min(sampling) if sampling else 1.0
    unshifted = want - h * (mask != 0)  # sdf: positive inside
    return Entrant(
        "edt.sdf",
        lambda: peers.edt_sdf(mask, sampling, threads),
        lambda got: ours.difference(-unshifted, got),
    )


@pytest.mark.parametrize("name", CASES_2D)
def test_2d(name, contest, threads, full):
    make, floors = CASES_2D[name]
    contest(_case_2d(f"signed map, {name}", make(), floors, threads, full))


def _case_2d(name, masks, floors, threads, full):
    ours.needed("scipy")
    ours.needed("cv2")
    oracle = ours.Once(lambda: peers.scipy_signed_batch(masks))
    want = oracle.want
    field = [
        *ours.entrants(masks, 2, want),
        Entrant(OPENCV, peers.opencv_signed(masks), partial(ours.difference, want), tolerance=1e-3),
        oracle.entrant,
        ours.floor_entrant(masks),
    ]
    if peers.module("edt") is not None:
        marked = masks + 1
        field.append(
            Entrant(
                EDT,
                lambda: peers.edt_unsigned_batch(marked, threads),
                lambda got: ours.difference(peers.magnitude(want, masks), np.stack(got)),
            )
        )
    if len(masks) == 1 and (full or masks.size <= OTHERS_UP_TO):
        field += ours.itk_and_diplib(masks[0], want[0], None, threads)
    return Case(
        name,
        "signed map, 2-D",
        field,
        masks.size,
        floors,
        details=_details(masks),
        missing=ours.missing("edt", "SimpleITK", "diplib"),
    )


def _details(mask, sampling=None):
    return {
        "shape": list(mask.shape),
        "sampling": sampling,
        "foreground": float(mask.mean()),
        "in": "uint8",
        "out": "float32",
    }
