// The words that kernels/*.cuh are written in: CUDA's own, or the emulator's (csrc/emulator/device.h), which runs the same
// source on a CPU.
//
// Rules for kernels, so that both can run them:
//   * a kernel is a `FASTDIST_KERNEL void name(Arguments a)` with plain structs as arguments, in one-dimensional grids and blocks;
//   * shared memory is dynamic only, through FASTDIST_SHARED, and carved up by the kernel;
//   * warps are 32 consecutive threads; every warp function is a *_sync one with the mask of the lanes that call it;
//   * no torch, no std, no CUDA header but this one.
#pragma once

#include <cstdint>

#if defined(FASTDIST_EMULATOR)

#include "../emulator/device.h"

#else

#include <cuda_runtime.h>

#define FASTDIST_KERNEL __global__
#define FASTDIST_DEVICE __device__ __forceinline__
// At most so many threads a block, and registers for so many blocks a multiprocessor.
#define FASTDIST_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
// `name` points to the block's shared memory, aligned to 16 bytes.
#define FASTDIST_SHARED(name) extern __shared__ __align__(16) char name[]
// Adds to a named counter of the emulator's; nothing on a GPU.
#define FASTDIST_COUNT(name, amount) ((void)0)

namespace fastdist {

// A number that the compiler does not see through, so that it stays the register it is in; `kind` is PTX's letter for that.
#define FASTDIST_OPAQUE(Type, kind)          \
  FASTDIST_DEVICE Type opaque(Type number) { \
    asm("" : "+" kind(number));              \
    return number;                           \
  }
FASTDIST_OPAQUE(float, "f")
FASTDIST_OPAQUE(double, "d")
FASTDIST_OPAQUE(int, "r")
FASTDIST_OPAQUE(int64_t, "l")
#undef FASTDIST_OPAQUE

}  // namespace fastdist

#endif
