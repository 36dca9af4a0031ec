// Toy kernels with one planted fault each. `out` has n = threads of the grid elements; where a fault needs a place, it is in
// block 1 (or only there is everything else as usual).
#pragma once

#include "cuda/device.h"

namespace toys {

FASTDIST_DEVICE int64_t index_in_grid() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

// --- Races: results differ between schedules. -------------------------------------------------------------------------

FASTDIST_KERNEL void missing_barrier(int* out, int) {
  FASTDIST_SHARED(memory);
  int* values = reinterpret_cast<int*>(memory);
  values[threadIdx.x] = int(threadIdx.x);
  // __syncthreads() is missing
  out[index_in_grid()] = values[blockDim.x - 1 - threadIdx.x];
}

FASTDIST_KERNEL void missing_warp_barrier(int* out, int) {
  FASTDIST_SHARED(memory);
  int* values = reinterpret_cast<int*>(memory);
  values[threadIdx.x] = int(threadIdx.x);
  // __syncwarp() is missing
  out[index_in_grid()] = values[threadIdx.x ^ 1];
}

// The next round's values overwrite those that another warp still reads.
FASTDIST_KERNEL void missing_second_barrier(int* out, int) {
  FASTDIST_SHARED(memory);
  int* values = reinterpret_cast<int*>(memory);
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    values[threadIdx.x] = int(threadIdx.x) + 1000 * round;
    __syncthreads();
    sum += values[(threadIdx.x + 32) % blockDim.x];
    // __syncthreads() is missing
  }
  out[index_in_grid()] = sum;
}

FASTDIST_KERNEL void race_between_blocks(int* out, int n) {
  const int64_t i = index_in_grid();
  out[i] = out[(i + blockDim.x) % n] + 1;
}

FASTDIST_KERNEL void uninitialised_shared(int* out, int) {
  FASTDIST_SHARED(memory);
  const int* values = reinterpret_cast<const int*>(memory);
  out[index_in_grid()] = values[threadIdx.x];
}

FASTDIST_KERNEL void forgets_an_element(int* out, int) {
  const int64_t i = index_in_grid();
  if (i != 77) out[i] = int(i);
}

// --- Barriers. --------------------------------------------------------------------------------------------------------

FASTDIST_KERNEL void divergent_barrier(int* out, int) {
  if (blockIdx.x == 1 && threadIdx.x >= 32) return;
  __syncthreads();
  out[index_in_grid()] = 1;
}

FASTDIST_KERNEL void different_barriers(int* out, int) {
  int any = 0;
  if (blockIdx.x != 1 || threadIdx.x < 32) {
    __syncthreads();
  } else {
    any = __syncthreads_or(1);
  }
  out[index_in_grid()] = any;
}

FASTDIST_KERNEL void barrier_in_two_places(int* out, int) {
  if (blockIdx.x != 1 || threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[index_in_grid()] = 1;
}

// --- Warp collectives: lane 5 of the second warp, thread 37, is the odd one. -----------------------------------------

FASTDIST_DEVICE bool odd_one() { return blockIdx.x == 1 && threadIdx.x == 37; }

FASTDIST_KERNEL void lane_outside_of_its_mask(int* out, int) {
  const unsigned mask = blockIdx.x == 1 && threadIdx.x / 32 == 1 ? 0xffffffdfu : 0xffffffffu;
  out[index_in_grid()] = __shfl_xor_sync(mask, int(threadIdx.x), 1);
}

FASTDIST_KERNEL void lane_has_returned(int* out, int) {
  if (odd_one()) return;
  out[index_in_grid()] = int(__ballot_sync(0xffffffffu, 1));
}

FASTDIST_KERNEL void lane_at_the_barrier(int* out, int) {
  if (odd_one()) {
    __syncthreads();
    __syncwarp();
  } else {
    __syncwarp();
    __syncthreads();
  }
  out[index_in_grid()] = 1;
}

FASTDIST_KERNEL void different_masks(int* out, int) {
  const unsigned mask = odd_one() ? 0x0000ffffu : 0xffffffffu;
  out[index_in_grid()] = __any_sync(mask, 1);
}

FASTDIST_KERNEL void different_collectives(int* out, int) {
  out[index_in_grid()] = odd_one() ? __any_sync(0xffffffffu, 1) : __all_sync(0xffffffffu, 1);
}

FASTDIST_KERNEL void different_widths_of_value(int* out, int) {
  if (odd_one()) {
    out[index_in_grid()] = int(__shfl_sync(0xffffffffu, 1ll, 0));
  } else {
    out[index_in_grid()] = __shfl_sync(0xffffffffu, 1, 0);
  }
}

FASTDIST_KERNEL void width_no_power_of_two(int* out, int) {
  out[index_in_grid()] = __shfl_sync(0xffffffffu, 1, 0, blockIdx.x == 1 ? 12 : 16);
}

// What lane 31 shows is not offered to the lower half.
FASTDIST_KERNEL void shuffle_from_outside_of_the_mask(int* out, int) {
  const unsigned mask = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  out[index_in_grid()] = __shfl_sync(mask, 7, 31);
}

// --- Memory and arithmetic: by thread 37 of block 1. ------------------------------------------------------------------

FASTDIST_KERNEL void shared_overrun(int* out, int) {
  FASTDIST_SHARED(memory);
  int* values = reinterpret_cast<int*>(memory);
  values[threadIdx.x] = 1;
  __syncthreads();
  if (odd_one()) values[blockDim.x] = 1;
  __syncthreads();
  out[index_in_grid()] = values[threadIdx.x];
}

FASTDIST_KERNEL void shared_underrun(int* out, int) {
  FASTDIST_SHARED(memory);
  if (odd_one()) memory[-1] = 1;
  __syncthreads();
  out[index_in_grid()] = 1;
}

FASTDIST_KERNEL void shared_overread(int* out, int) {
  FASTDIST_SHARED(memory);
  int* values = reinterpret_cast<int*>(memory);
  values[threadIdx.x] = 1;
  __syncthreads();
  out[index_in_grid()] = values[odd_one() ? blockDim.x : threadIdx.x];
}

FASTDIST_KERNEL void global_overrun(int* out, int n) { out[odd_one() ? n : index_in_grid()] = 1; }

FASTDIST_KERNEL void shift_overflow(int* out, int) {
  __syncthreads();
  out[index_in_grid()] = 1 << (odd_one() ? 32 : 3);
}

FASTDIST_KERNEL void signed_overflow(int* out, int) {
  const int i = int(threadIdx.x);
  __syncwarp();
  out[index_in_grid()] = (odd_one() ? 2147483647 : 3) + i;
}

FASTDIST_KERNEL void misaligned_vector(int* out, int) {
  FASTDIST_SHARED(memory);
  auto* pairs = reinterpret_cast<int2*>(memory + (odd_one() ? 4 : 0));
  *pairs = make_int2(1, 2);
  out[index_in_grid()] = 1;
}

FASTDIST_KERNEL void null_pointer(int* out, int) {
  volatile int* nowhere = nullptr;
  __syncthreads();
  if (odd_one()) *nowhere = 1;
  out[index_in_grid()] = 1;
}

inline int depth(volatile int* out, int levels) {
  volatile char frame[256];
  frame[0] = char(levels);
  return levels == 0 ? *out : depth(out, levels - 1) + frame[0];
}

FASTDIST_KERNEL void stack_overrun(int* out, int) {
  if (odd_one()) out[0] = depth(out, 1 << 20);
  out[index_in_grid()] = 1;
}

}  // namespace toys
