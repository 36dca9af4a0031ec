"""A few calls through the installed package: does it import, load its library and compute?

``python scripts/smoke.py [PROVIDER]`` checks that the provider (default: the compiled extension)
answers, with a map and a loss known by heart. Needs nothing but the package; run it from
elsewhere, so that the sources are not imported in its place.
"""

from __future__ import annotations

import math
import sys

import torch


def main() -> None:
    expected = sys.argv[1] if len(sys.argv) > 1 else "extension"
    import fastdist
    from fastdist import providers

    answering = providers.current("cpu")
    if answering != expected:
        sys.exit(f"smoke: {answering} answers, not {expected}: {providers.reasons()}")

    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[:, 1:] = True
    assert fastdist.edt(mask, ndim=2).tolist() == [[0.0, 1.0, 2.0, 3.0]] * 3
    assert fastdist.edt(mask[:0], ndim=2).shape == (0, 4)

    labels = torch.zeros(1, 1, 5, dtype=torch.int64)
    labels[..., 1:4] = 1
    maps = fastdist.signed_distance_maps(labels, 2)
    assert maps[0, 1, 0].tolist() == [1.0, 0.0, -1.0, 0.0, 1.0]

    logits = torch.zeros(1, 2, 1, 5, requires_grad=True)
    loss = fastdist.losses.BoundaryLoss(softmax=True)(logits, labels)
    loss.backward()
    # Probability 1/2 everywhere; the maps' sums are 4 (background) and 1, over 5 voxels each.
    assert math.isclose(loss.item(), 0.5 * (4 / 5 + 1 / 5) / 2, abs_tol=1e-6), loss
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()

    wrong = torch.full((1, 4, 4), 7)
    try:
        fastdist.signed_distance_maps(wrong, 2)
    except ValueError:
        pass
    else:
        sys.exit("smoke: a label out of range was let through")
    print(f"smoke: fastdist by {answering} under torch {torch.__version__} works")


if __name__ == "__main__":
    main()
