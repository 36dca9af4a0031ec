// Maps divided: by the image's diagonal, or (normalize="max") the inside by its largest magnitude and the outside by its largest
// value, zero staying zero.
//
// Sweeps over maps that a transform has finished. Maxima do not depend on their order, so atomics give the same bits always.
#pragma once

#include "finish.cuh"

namespace fastdist::cuda {

template <class Value>
struct NormalizeArguments {
  Units units;
  const RowWord* planes;   // [units][units.planes][rows][words]
  int64_t rows, width;
  int words;
  int parts;               // blocks a unit
  Value* maps;             // [units][rows][width]
  Value* largest;          // [units][2]: outside, inside; zero at first
};

constexpr int kNormalizeThreads = 256;

FASTDIST_DEVICE void raise_to(float* at, float value) { atomicMax(reinterpret_cast<int*>(at), __float_as_int(value)); }
FASTDIST_DEVICE void raise_to(double* at, double value) {
  atomicMax(reinterpret_cast<unsigned long long*>(at), (unsigned long long)(__double_as_longlong(value)));
}

// Calls visit(value, inside) for the block's share of its unit's voxels, where they are no constants.
template <class Value, class Visit>
FASTDIST_DEVICE void each_value(const NormalizeArguments<Value>& a, int64_t unit, const Status& status, const Visit& visit) {
  const int64_t plane = a.rows * a.words, voxels = a.rows * a.width;
  const RowWord* not_inside = a.planes + unit * a.units.planes * plane;
  Value* map = a.maps + unit * voxels;
  const int64_t part = int64_t(blockIdx.x) % a.parts;
  for (int64_t at = part * blockDim.x + threadIdx.x; at < voxels; at += int64_t(a.parts) * blockDim.x) {
    const int64_t row = at / a.width, x = at % a.width;
    const bool inside = !(not_inside[row * a.words + (x >> 5)].bits >> (x & 31) & 1);
    if (!(inside && status.inside_constant)) visit(map[at], inside);
  }
}

template <class Value>
FASTDIST_KERNEL FASTDIST_BOUNDS(kNormalizeThreads, 2) void find_largest(NormalizeArguments<Value> a) {
  const int64_t unit = int64_t(blockIdx.x) / a.parts;
  const Status status = status_of(a.units, unit);
  if (status.constant) return;
  Value largest[2] = {0, 0};
  each_value(a, unit, status, [&](Value& value, bool inside) {
    const Value magnitude = value < 0 ? -value : value;
    if (inside) largest[1] = magnitude > largest[1] ? magnitude : largest[1];
    else largest[0] = magnitude > largest[0] ? magnitude : largest[0];
  });
  for (int side = 0; side < 2; ++side) {
    for (int step = 16; step > 0; step /= 2) {
      const Value other = __shfl_xor_sync(0xffffffffu, largest[side], step);
      largest[side] = other > largest[side] ? other : largest[side];
    }
    if ((threadIdx.x & 31) == 0 && largest[side] > 0) raise_to(a.largest + unit * 2 + side, largest[side]);
  }
}

template <class Value>
FASTDIST_KERNEL FASTDIST_BOUNDS(kNormalizeThreads, 2) void divide_by_diagonal(NormalizeArguments<Value> a) {
  const int64_t unit = int64_t(blockIdx.x) / a.parts;
  const Status status = status_of(a.units, unit);
  if (status.constant) return;
  const double diagonal = lengths_of(a.units, unit).diagonal;
  each_value(a, unit, status, [&](Value& value, bool) { value = Value(double(value) / diagonal); });
}

template <class Value>
FASTDIST_KERNEL FASTDIST_BOUNDS(kNormalizeThreads, 2) void divide_by_largest(NormalizeArguments<Value> a) {
  const int64_t unit = int64_t(blockIdx.x) / a.parts;
  const Status status = status_of(a.units, unit);
  if (status.constant) return;
  const Value outside = a.largest[unit * 2], inner = a.largest[unit * 2 + 1];
  each_value(a, unit, status, [&](Value& value, bool inside) {
    const Value by = inside ? inner : outside;
    if (by > 0) value /= by;
  });
}

}  // namespace fastdist::cuda
