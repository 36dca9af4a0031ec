// Nearest clear voxels by a plain outward search along every axis, in double.
//
// For what keys cannot hold (spacings that are no multiples of each other, spacings in a tensor, huge images): exact, not fast.
// Among equally near voxels the one with the smaller coordinate on the last axis wins, then on the one before it: `rank` is the
// position in an array with reversed axes. Twice 16 bytes a voxel and axis.
#pragma once

#include "finish.cuh"

namespace fastdist::cuda {

struct alignas(16) Nearest {
  double squared;
  int64_t rank;
};

struct SearchArguments {
  Units units;
  Finish finish;
  const RowWord* planes;   // [images][rows][words]: measured to clear bits
  int64_t images, voxels, width;
  int words;
  const double* spacings;  // [images][ndim]; or null
  double spacing[64];
  int64_t shape[64], rank_stride[64];
  int ndim;
  int axis;                // of this pass
  int64_t length, inner;   // voxels along the axis, and from one to the next
  const Nearest* source;
  Nearest* result;
};

constexpr int kSearchThreads = 256;

FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_start(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.images * a.voxels) return;
  const int64_t row = at / a.width, x = at % a.width;
  const bool set = a.planes[row * a.words + (x >> 5)].bits >> (x & 31) & 1;
  int64_t rest = at % a.voxels, rank = 0;
  for (int axis = a.ndim - 1; axis >= 0; --axis) {
    rank += rest % a.shape[axis] * a.rank_stride[axis];
    rest /= a.shape[axis];
  }
  a.result[at] = {set ? infinity_of<double>() : 0.0, rank};
}

FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_axis(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.images * a.voxels) return;
  const int64_t y = at / a.inner % a.length;
  const double spacing = a.spacings ? a.spacings[at / a.voxels * a.ndim + a.axis] : a.spacing[a.axis];
  Nearest best = a.source[at];
  for (int64_t d = 1; y - d >= 0 || y + d < a.length; ++d) {
    const double away = product(spacing, double(d)), cost = product(away, away);
    if (!(cost <= best.squared)) break;
    for (int side = 0; side < 2; ++side) {
      const int64_t other = side == 0 ? y - d : y + d;
      if (other < 0 || other >= a.length) continue;
      const Nearest source = a.source[at + (other - y) * a.inner];
      const double sum = source.squared + cost;
      if (sum < best.squared || (sum == best.squared && source.rank < best.rank)) best = {sum, source.rank};
    }
  }
  a.result[at] = best;
}

FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_finish(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.images * a.voxels) return;
  const Nearest nearest = a.source[at];
  const bool usable = lengths_of(a.units, at / a.voxels).usable != 0;
  const bool none = !usable || nearest.squared == infinity_of<double>();
  if (a.finish.type == Element::kF32 || a.finish.type == Element::kF64) {
    const double value = a.finish.squared ? nearest.squared : __dsqrt_rn(nearest.squared);
    store_constant(a.finish, usable ? value : 0.0, at);
  } else {
    store_whole(a.finish, none, none ? 0 : int64_t(nearest.squared), at);
  }
  int64_t rest = nearest.rank;
  for (int axis = 0; axis < a.ndim; ++axis) {
    store_coordinate(a.finish, axis, none ? -1 : rest % a.shape[axis], at);
    rest /= a.shape[axis];
  }
}

}  // namespace fastdist::cuda
