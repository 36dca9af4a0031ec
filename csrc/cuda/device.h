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

// 1 / sqrt(x), with a relative error of up to 2^-22.9; infinity of 0.
FASTDIST_DEVICE float rough_reciprocal_root(float x) {
  float root;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
}

// How far the highest set bit is from the top; 2^32 - 1 where none is set.
FASTDIST_DEVICE uint32_t shift_to_highest(uint32_t bits) {
  uint32_t shift;
  asm("bfind.shiftamt.u32 %0, %1;" : "=r"(shift) : "r"(bits));
  return shift;
}

// Whether bit k is set, in one instruction: the compiler would rather shift, mask and compare.
FASTDIST_DEVICE bool has_bit(uint32_t bits, int k) { return opaque(int(bits & 1u << k)) != 0; }

// *to = value, where `condition` is not 0: one instruction. What the compiler may branch around it does.
#define FASTDIST_STORE_IF(Type, type, kind)                                                \
  FASTDIST_DEVICE void store_if(uint32_t condition, Type* to, Type value) {                \
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %0, 0; @p st.global." type " [%1], %2; }" \
                 :                                                                         \
                 : "r"(condition), "l"(to), kind(value)                                    \
                 : "memory");                                                              \
  }
FASTDIST_STORE_IF(float, "f32", "f")
FASTDIST_STORE_IF(double, "f64", "d")
FASTDIST_STORE_IF(int, "s32", "r")
FASTDIST_STORE_IF(int64_t, "s64", "l")
#undef FASTDIST_STORE_IF

// Shared memory by its own addresses, of 32 bits: one instruction for the address of an element, where pointers take two.
FASTDIST_DEVICE uint32_t shared_address(const void* pointer) { return uint32_t(__cvta_generic_to_shared(pointer)); }
#define FASTDIST_LOAD_SHARED(Type, type, kind)                                                 \
  FASTDIST_DEVICE void load_shared(uint32_t address, Type* value) {                            \
    asm volatile("ld.shared." type " %0, [%1];" : "=" kind(*value) : "r"(address) : "memory"); \
  }
FASTDIST_LOAD_SHARED(float, "f32", "f")
FASTDIST_LOAD_SHARED(double, "f64", "d")
FASTDIST_LOAD_SHARED(int, "s32", "r")
FASTDIST_LOAD_SHARED(int64_t, "s64", "l")
#undef FASTDIST_LOAD_SHARED

// Whether runs are relaxed in pairs: __viaddmin_u16x2() is one instruction (VIADDMNMX.U16x2) of sm_90, sm_100 and sm_103, and two
// (VIADD.16x2, VIMNMX.U16x2) of sm_120: 25 instructions a row of a run, not 17. sm_110, which takes sm_100's PTX, and what is older
// than sm_90 need a dozen.
FASTDIST_DEVICE constexpr bool has_pairs() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  return true;
#else
  return false;
#endif
}

}  // namespace fastdist

#endif
