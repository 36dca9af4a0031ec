"""Every op on small inputs, compared with the CPU:  small_calls.py [--device cuda|cpu] [--quick]

What runs under compute-sanitizer: the calls of tests/cuda_calls.py, and nothing that takes long.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from cuda_calls import CALLS, SPACES, batch, tolerance  # noqa: E402

from fastdist import providers  # noqa: E402

QUICK = [(200,), (31, 65), (17, 8, 66)]  # one of each rank


def difference(got: torch.Tensor, expected: torch.Tensor) -> str | None:
    """What is wrong with a result, or None."""
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        return f"{got.dtype} {tuple(got.shape)}, expected {expected.dtype} {tuple(expected.shape)}"
    mine, theirs = got.cpu().double(), expected.double()
    finite = theirs.isfinite()
    if not torch.equal(mine.isfinite(), finite):
        return "infinite or NaN in other places"
    error = (mine - theirs)[finite].abs().max().item() if finite.any() else 0.0
    largest = theirs[finite].abs().max().item() if finite.any() else 0.0
    allowed = tolerance(got.dtype) * largest
    return f"off by {error:g}, allowed are {allowed:g}" if error > allowed else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="fewer shapes")
    parser.add_argument("--only", default="", help="calls whose name contains it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{options.device}: answered by {providers.current(options.device)}")
    wrong = calls = 0
    for space in QUICK if options.quick else SPACES:
        here, there = batch(space, "cpu"), batch(space, options.device)
        for name, call in CALLS.items():
            if options.only not in name:
                continue
            calls += 1
            for part, (got, expected) in enumerate(zip(call(there), call(here), strict=True)):
                found = difference(got, expected)
                if found:
                    wrong += 1
                    print(f"WRONG {name}, {'x'.join(map(str, space))}, result {part}: {found}")
    print(f"{calls} calls, {wrong} wrong results")
    return 1 if wrong or not calls else 0


if __name__ == "__main__":
    sys.exit(main())
