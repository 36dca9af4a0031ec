"""A kernel with a fault, for the sanitizer to find:  planted_fault.py bounds|race

Its name holds `fastdist`, so that the filter which selects our kernels selects it as well.
"""

from __future__ import annotations

import sys

import torch

SOURCES = {
    "bounds": """
extern "C" __global__ void fastdist_planted(int* out, int n) {
    out[n + threadIdx.x] = 1;
}
""",
    "race": """
extern "C" __global__ void fastdist_planted(int* out, int n) {
    __shared__ int shared[128];
    shared[threadIdx.x] = n + threadIdx.x;
    out[threadIdx.x] = shared[127 - threadIdx.x];  // no barrier before it
}
""",
}


def main() -> None:
    source = SOURCES[sys.argv[1]]
    out = torch.zeros(128, dtype=torch.int32, device="cuda")
    if hasattr(torch.cuda, "_compile_kernel"):
        kernel = torch.cuda._compile_kernel(source, "fastdist_planted")
        kernel(grid=(1, 1, 1), block=(128, 1, 1), args=[out, 128])
    else:
        import cupy

        kernel = cupy.RawKernel(source, "fastdist_planted")
        kernel((1,), (128,), (cupy.from_dlpack(out), 128))
    torch.cuda.synchronize()
    print("the faulty kernel ran")


if __name__ == "__main__":
    main()
