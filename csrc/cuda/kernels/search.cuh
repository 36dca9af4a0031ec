// Nearest clear voxels at any spacing, in double: axis by axis, each voxel keeping the row that served it.
//
// For what keys cannot hold (spacings that are no multiples of one length, spacings in a tensor, huge images). The row that
// serves never decreases along a column, so rows are taken at stride n / 2, n / 4, ..., 1, and each looks only between the rows
// that serve its two neighbours, outward from its own place, until the distance alone exceeds the best sum: O(n log n) a column.
//
// Axes are taken from the first to the last. Of equally near rows the smallest serves; so among equally near voxels the one
// with the smallest coordinate on the last axis wins, then on the one before it. The rows of each axis stand where its
// coordinates will: in the end the last axis names a row, there the axis before it names one, and so on (search_follow). Beside
// the output that takes 16 bytes a voxel: the squared distances before and behind a pass; then a place, and what was found there.
#pragma once

#include "finish.cuh"

namespace fastdist::cuda {

struct SearchArguments {
  Units units;
  Finish finish;
  const RowWord* planes;   // [images][rows][words]: measured to clear bits
  int64_t images, voxels, width;
  int words;
  const double* spacings;  // [images][ndim]; or null
  double spacing;          // along the axis
  int axis;                // of this pass
  int64_t length, inner;   // voxels along the axis, and from one to the next
  const double* source;    // squared distances
  double* result;
  int64_t* place;          // where the search for coordinates is
  int64_t* found;          // and what it has found
};

constexpr int kSearchThreads = 256;

FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_start(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.images * a.voxels) return;
  const int64_t row = at / a.width, x = at % a.width;
  const bool set = a.planes[row * a.words + (x >> 5)].bits >> (x & 31) & 1;
  a.result[at] = set ? infinity_of<double>() : 0.0;
}

// One column: squared distances before the pass, along it, and how far apart its rows are.
struct SearchColumn {
  const double* source;
  int64_t inner;
  double spacing;

  // The smallest row from `low` to `high` that serves row y best; -1 where none has a source.
  FASTDIST_DEVICE int64_t serving(int64_t y, int64_t low, int64_t high, double* best) const {
    int64_t row = -1;
    *best = infinity_of<double>();
    int64_t before = y < high ? y : high, behind = before + 1;
    if (behind < low) behind = low;
    while (before >= low || behind <= high) {
      bool more = false;
      if (before >= low && cost_to(y, before) <= *best) more = true, take(y, before--, best, &row);
      if (behind <= high && cost_to(y, behind) <= *best) more = true, take(y, behind++, best, &row);
      if (!more) break;  // what is not tried lies farther still
    }
    return row;
  }

 private:
  FASTDIST_DEVICE double cost_to(int64_t y, int64_t i) const {
    const double away = product(spacing, double(y - i));
    return product(away, away);
  }
  FASTDIST_DEVICE void take(int64_t y, int64_t i, double* best, int64_t* row) const {
    const double sum = source[i * inner] + cost_to(y, i);
    if (!(sum < *best || (sum == *best && i < *row))) return;
    *best = sum;
    *row = i;
  }
};

// A block makes 32 adjacent columns, one a lane.
FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_axis(SearchArguments a) {
  const int lane = int(threadIdx.x) & 31, warp = int(threadIdx.x) >> 5, warps = int(blockDim.x) >> 5;
  const int64_t columns = a.images * a.voxels / a.length, mine = int64_t(blockIdx.x) * 32 + lane;
  const int64_t column = mine < columns ? mine : columns - 1;  // lanes without one do what the last one does: nothing else changes
  const int64_t begin = column / a.inner * a.inner * a.length + column % a.inner;
  const double spacing = a.spacings ? a.spacings[begin / a.voxels * a.finish.ndim + a.axis] : a.spacing;
  const SearchColumn search{a.source + begin, a.inner, spacing};
  int64_t step = 1;
  while (2 * step <= a.length) step *= 2;
  for (; step >= 1; step /= 2) {
    for (int64_t y = step - 1 + 2 * step * warp; y < a.length; y += 2 * step * warps) {
      const int64_t at = begin + y * a.inner;
      const int64_t low = y >= step ? load_coordinate(a.finish, a.axis, at - step * a.inner) : 0;
      const int64_t high = y + step < a.length ? load_coordinate(a.finish, a.axis, at + step * a.inner) : a.length - 1;
      double best = infinity_of<double>();
      const int64_t row = low < 0 || high < 0 ? -1 : search.serving(y, low, high, &best);
      if (mine >= columns) continue;
      store_coordinate(a.finish, a.axis, row, at);
      a.result[at] = best;
    }
    __syncthreads();
  }
}

// Distances. Where there is none, the last axis says so.
FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_distances(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.images * a.voxels) return;
  const double squared = a.source[at];
  const bool usable = lengths_of(a.units, at / a.voxels).usable != 0;
  const bool none = !usable || squared == infinity_of<double>();
  if (a.finish.type == Element::kF32 || a.finish.type == Element::kF64) {
    const double value = a.finish.squared ? squared : __dsqrt_rn(squared);
    store_constant(a.finish, usable ? value : 0.0, at);
  } else {
    store_whole(a.finish, none, none ? 0 : int64_t(squared), at);
  }
  if (none) store_coordinate(a.finish, a.finish.ndim - 1, -1, at);
}

// Follows the rows that served along one axis: a.place moves to the row of the axis behind (`width` being its length), and what
// stands there is found. The first time that axis is the last one, and the place the voxel's own.
FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_follow(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= a.images * a.voxels) return;
  const bool first = a.axis == a.finish.ndim - 2;
  const int64_t row = load_coordinate(a.finish, a.axis + 1, at);
  if (row < 0) {
    a.found[at] = -1;
    return;
  }
  const int64_t place = first ? at : a.place[at], step = a.inner;
  const int64_t moved = place + (row - place / step % a.width) * step;
  a.place[at] = moved;
  a.found[at] = load_coordinate(a.finish, a.axis, moved);
}

// And puts it where others no longer look for rows.
FASTDIST_KERNEL FASTDIST_BOUNDS(kSearchThreads, 2) void search_found(SearchArguments a) {
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at < a.images * a.voxels) store_coordinate(a.finish, a.axis, a.found[at], at);
}

}  // namespace fastdist::cuda
