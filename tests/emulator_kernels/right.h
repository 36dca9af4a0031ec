// Toy kernels that are right: whatever the schedule, they compute the same. Threads of a block: any multiple of 32.
#pragma once

#include "cuda/device.h"

namespace toys {

// sums[block] = the sum of the block's values, by shuffles within warps, then over the warps.
FASTDIST_KERNEL void sum(const int* values, int64_t* sums) {
  FASTDIST_SHARED(memory);
  auto* of_warps = reinterpret_cast<long long*>(memory);
  long long value = values[int64_t(blockIdx.x) * blockDim.x + threadIdx.x];
  for (int delta = 16; delta > 0; delta /= 2) value += __shfl_down_sync(0xffffffffu, value, delta);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  if (lane == 0) of_warps[warp] = value;
  __syncthreads();
  if (warp == 0) {
    value = lane < warps ? of_warps[lane] : 0;
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
    if (lane == 0) sums[blockIdx.x] = value;
  }
}

// Inclusive prefix sums of each block's values: in place, in shared memory, doubling the step (Hillis and Steele 1986).
FASTDIST_KERNEL void scan(const int* values, int* prefixes) {
  FASTDIST_SHARED(memory);
  int* sums = reinterpret_cast<int*>(memory);
  const unsigned i = threadIdx.x, n = blockDim.x;
  sums[i] = values[int64_t(blockIdx.x) * n + i];
  __syncthreads();
  for (unsigned step = 1; step < n; step *= 2) {
    const int before = i >= step ? sums[i - step] : 0;
    __syncthreads();
    sums[i] += before;
    __syncthreads();
  }
  prefixes[int64_t(blockIdx.x) * n + i] = sums[i];
}

// Each warp transposes a matrix of 32 x 32 bits twice: by ballots, and by exchanges of halves, quarters, ...
FASTDIST_KERNEL void transpose_bits(const unsigned* rows, unsigned* by_ballots, unsigned* by_shuffles) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const unsigned lane = threadIdx.x % 32;
  const unsigned row = rows[i];
  unsigned column = 0;
  for (unsigned bit = 0; bit < 32; ++bit) {
    const unsigned ballot = __ballot_sync(0xffffffffu, row >> bit & 1);
    if (lane == bit) column = ballot;
  }
  by_ballots[i] = column;

  unsigned block = row, mask = 0x0000ffffu;
  for (int half = 16; half > 0; half /= 2, mask ^= mask << half) {
    const unsigned other = __shfl_xor_sync(0xffffffffu, block, half);
    block = lane & half ? (block & ~mask) | (other & ~mask) >> half : (block & mask) | (other & mask) << half;
  }
  by_shuffles[i] = block;
}

// counts[v] += how often v occurs among n values 0 <= v < bins; bounds: the smallest and the largest.
FASTDIST_KERNEL void histogram(const int* values, int64_t n, int bins, int* counts, int* bounds) {
  FASTDIST_SHARED(memory);
  int* mine = reinterpret_cast<int*>(memory);
  for (int bin = int(threadIdx.x); bin < bins; bin += int(blockDim.x)) mine[bin] = 0;
  __syncthreads();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) {
    atomicAdd(&mine[values[i]], 1);
    atomicMin(&bounds[0], values[i]);
    atomicMax(&bounds[1], values[i]);
  }
  FASTDIST_COUNT("histogram.values", i < n);
  const int inside = __syncthreads_count(i < n);
  if (threadIdx.x == 0) FASTDIST_COUNT("histogram.counted", inside);
  for (int bin = int(threadIdx.x); bin < bins; bin += int(blockDim.x))
    if (mine[bin] != 0) atomicAdd(&counts[bin], mine[bin]);
}

// results[word][thread] for each word of CUDA's in turn, from values[thread]; `columns` is how many there is room for.
FASTDIST_KERNEL void words(const int* values, int64_t* results, int columns) {
  const unsigned thread = threadIdx.x, lane = thread % 32;
  constexpr unsigned kAll = 0xffffffffu;
  const int value = values[thread];
  int word = 0;
  auto put = [&](auto result) {
    if (word < columns) results[int64_t(word++) * blockDim.x + thread] = int64_t(result);
  };
  put(__shfl_sync(kAll, value, 3));
  put(__shfl_sync(kAll, value, int(lane) + 1));  // around
  put(__shfl_sync(kAll, value, 3, 8));
  put(__shfl_up_sync(kAll, value, 5));
  put(__shfl_up_sync(kAll, value, 5, 8));
  put(__shfl_down_sync(kAll, value, 5));
  put(__shfl_down_sync(kAll, value, 5, 8));
  put(__shfl_xor_sync(kAll, value, 9));
  put(__shfl_xor_sync(kAll, value, 9, 8));
  put(__shfl_sync(kAll, value * 1.5, 31) * 2);
  put(__shfl_sync(kAll, float(value), 31));
  put(__shfl_sync(kAll, static_cast<long long>(value) << 32, 31));
  put(__ballot_sync(kAll, value & 1));
  put(__any_sync(kAll, value == 5));
  put(__all_sync(kAll, value == 5));
  put(__reduce_add_sync(kAll, value));
  put(__reduce_min_sync(kAll, value));
  put(__reduce_max_sync(kAll, unsigned(value)));
  put(__match_any_sync(kAll, value & 3));
  put(__syncthreads_or(value == 5));
  put(__syncthreads_and(value == 5));
  put(__syncthreads_count(value & 1));
  // Half a warp goes one way first, then all meet: nothing is wrong with that.
  int half = 0;
  if (lane >= 16) half = __shfl_down_sync(0xffff0000u, value, 16);
  __syncwarp();
  put(lane >= 16 ? __popc(unsigned(half)) * 0 : 1);
  put(__popc(unsigned(value)));
  put(__clz(value));
  put(__ffs(value));
  put(__brev(unsigned(value)));
  put(__funnelshift_l(unsigned(value), 0x80000001u, 4));
  put(__funnelshift_r(unsigned(value), 0x80000001u, 36));
  put(min(value, 7u));
  put(max(value, -7));
  put(min(__int_as_float(0x7fc00000), 3.0f));  // NaN loses
  put(__float_as_int(float(value)));
}

}  // namespace toys
