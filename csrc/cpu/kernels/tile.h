// Filling a tile: row distances straight from bits, and distances within a column to the nearest change of label.
#pragma once

#include "../kernel_table.h"
#include "columns.h"

namespace fastdist::FASTDIST_LEVEL {

FASTDIST_INLINE int lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
FASTDIST_INLINE int highest_bit(uint64_t bits) { return 63 - __builtin_clzll(bits); }

// The edges around the tile that begins at column x.
struct RowEdges {
  uint32_t inside;  // 16 bits: edges at x .. x + 15
  int64_t before;   // last edge before x
  int64_t after;    // first edge behind x + 15
};
FASTDIST_INLINE RowEdges edges_around(const uint64_t* row, const Neighbours* neighbours, int64_t x) {
  const int64_t w = x >> 6;
  const int shift = x & 63;
  const uint64_t word = row[w];
  const uint64_t low = word & ((uint64_t(1) << shift) - 1);
  const uint64_t high = shift == 48 ? 0 : word & (~uint64_t(0) << (shift + kTile));
  return {uint32_t(word >> shift) & 0xffff, low ? (w << 6) + highest_bit(low) : neighbours[w].before,
          high ? (w << 6) + lowest_bit(high) : neighbours[w].after};
}

// floor(log2) of whole numbers from 1 to 2^24, from the exponent of the float that holds them exactly.
FASTDIST_INLINE Vec<int32_t> floor_log2(Vec<int32_t> x) {
  return ((Vec<int32_t>)__builtin_convertvector(x, Vec<float>) >> 23) - 127;
}

// Whole-number row distances of 16 voxels to the nearest edge. At least one edge must exist in the row. An edge at e lies
// between the voxels e - 1 and e, so that voxel x is x - e + 1 steps from the voxel beyond an edge to its left.
template <class Count>
FASTDIST_INLINE void row_distances(const RowEdges& edges, int64_t x, Count* apart) {
  constexpr int64_t none = sizeof(Count) == 4 ? int64_t(1) << 30 : int64_t(1) << 40;
  const int64_t left = edges.before == kNoneBefore ? none : x - edges.before + 1;
  const int64_t right = edges.after == kNoneAfter ? none + kTile : edges.after - x;
  if (edges.inside == 0) {
    for (int k = 0; k < kTile; ++k) {
      Count l = Count(left) + Count(k), r = Count(right) - Count(k);
      apart[k] = l < r ? l : r;
    }
    return;
  }
  // With an edge in the tile no voxel is farther than 16 steps from it: larger distances need not be exact.
  using V = Vec<int32_t>;
  constexpr int lanes = kLanes<int32_t>;
  const int32_t far_left = left < 64 ? int32_t(left) : 64, far_right = right < 64 ? int32_t(right) : 64;
  alignas(64) int32_t near[kTile];
  for (int v = 0; v < kTile / lanes; ++v) {
    V k;
    for (int lane = 0; lane < lanes; ++lane) k[lane] = v * lanes + lane;
    V up_to_k;
    for (int lane = 0; lane < lanes; ++lane) up_to_k[lane] = int32_t((2u << (v * lanes + lane)) - 1);
    const V all = splat<int32_t>(int32_t(edges.inside));
    const V below = all & up_to_k, above = all & ~up_to_k;
    const V l = below != 0 ? k - floor_log2(below) + 1 : k + far_left;
    const V r = above != 0 ? floor_log2(above & -above) - k : far_right - k;
    *reinterpret_cast<V*>(near + v * lanes) = minimum(l, r);
  }
  for (int i = 0; i < kTile; ++i) apart[i] = near[i];
}

template <class T>
using Count = typename IntegerOf<sizeof(T)>::type;

// Squared row distance in units of the metric.
template <class T>
FASTDIST_INLINE T squared_row(Count<T> apart, T spacing, T weight) {
  if constexpr (__is_same(T, float) || __is_same(T, double)) {
    T length = T(apart) * spacing;
    return length * length;
  } else {
    return T(apart) * T(apart) * weight;
  }
}

// Rows of the tile at column x: squared distance along the row to the nearest other label (one-sided: to the nearest clear
// bit).
template <class T>
FASTDIST_INLINE void fill_rows(const PlanePass& pass, int64_t x, T* tile) {
  const int64_t words = words_per_row(pass.width);
  const T spacing = T(pass.spacing_x), weight = T(pass.weight_x);
  for (int64_t y = 0; y < pass.height; ++y) {
    T* row = tile + y * kTile;
    const RowEdges edges = edges_around(pass.edges_x + y * words, pass.neighbours + y * words, x);
    const uint32_t zero = pass.foreground ? ~uint32_t(pass.foreground[y * words + (x >> 6)] >> (x & 63)) & 0xffff : 0;
    if (edges.inside == 0 && edges.before == kNoneBefore && edges.after == kNoneAfter) {
      const T value = zero & 1 ? T(0) : kFar<T>;  // the row is all source or has none
      for (int k = 0; k < kTile; ++k) row[k] = value;
      continue;
    }
    alignas(64) Count<T> apart[kTile];
    row_distances(edges, x, apart);
    if (zero)
      for (int k = 0; k < kTile; ++k) apart[k] = zero >> k & 1 ? 0 : apart[k];
    for (int k = 0; k < kTile; ++k) row[k] = squared_row<T>(apart[k], spacing, weight);
  }
}

// Keys: (squared distance, column of the source). Among two equally near sources of a row the left one wins.
FASTDIST_INLINE void fill_keys(const PlanePass& pass, int64_t x, uint64_t* tile) {
  const int64_t words = words_per_row(pass.width);
  const uint64_t weight = uint64_t(pass.weight_x);
  for (int64_t y = 0; y < pass.height; ++y) {
    uint64_t* row = tile + y * kTile;
    const RowEdges edges = edges_around(pass.edges_x + y * words, pass.neighbours + y * words, x);
    const uint32_t zero = ~uint32_t(pass.foreground[y * words + (x >> 6)] >> (x & 63)) & 0xffff;
    const uint64_t row_key = uint64_t(y) << pass.key_shift_y;
    for (int k = 0; k < kTile; ++k) {
      const uint32_t lower = edges.inside & ((2u << k) - 1);
      const uint32_t upper = edges.inside & ~((2u << k) - 1);
      const int64_t left = (lower ? x + (31 - __builtin_clz(lower)) : edges.before) - 1;
      const int64_t right = upper ? x + __builtin_ctz(upper) : edges.after;
      const int64_t here = x + k;
      int64_t nearest = here - left <= right - here ? left : right;
      if (zero >> k & 1) nearest = here;
      const bool none = nearest == kNoneAfter || nearest == kNoneBefore - 1;
      const uint64_t apart = uint64_t(here > nearest ? here - nearest : nearest - here);
      row[k] = none ? kFar<uint64_t>
                    : (apart * apart * weight << pass.key_shift_d) + (uint64_t(nearest) << pass.key_shift_x) + row_key;
    }
  }
}

// Rows past the end hold `kFar`, so that they neither serve nor matter.
template <class T>
FASTDIST_INLINE void pad_tile(int64_t n, T* tile) {
  for (int64_t i = n * kTile; i < padded_rows(n) * kTile; ++i) tile[i] = kFar<T>;
}

// run: [padded n][kTile], squared distance along the column to the nearest voxel beyond an edge. The words at
// edges[y * stride], shifted, hold the tile's edge bits between rows y - 1 and y, for 0 <= y <= n. Returns null instead of
// `run` where there is no edge at all: most tiles of a sparse image.
template <class T>
FASTDIST_INLINE const T* fill_runs(int64_t n, T weight, const uint64_t* edges, int64_t stride, int shift, T* run) {
  uint64_t any = 0;
  for (int64_t y = 0; y <= n; ++y) any |= edges[y * stride];
  if ((any >> shift & 0xffff) == 0) return nullptr;
  using V = Vec<T>;
  constexpr int vectors = kVectorsPerTile<T>;
  const T beyond = T(2) * T(n) + T(64);  // more than any distance within the column
  V* rows = reinterpret_cast<V*>(run);
  for (int v = 0; v < vectors; ++v) {
    const int bit = shift + v * kLanes<T>;
    V apart = splat<T>(beyond);
    for (int64_t y = 0; y < n; ++y) {
      apart = lanes_of<T>(edges[y * stride] >> bit) ? splat<T>(1) : apart + T(1);
      rows[y * vectors + v] = apart;
    }
    apart = splat<T>(beyond);
    for (int64_t y = n - 1; y >= 0; --y) {
      apart = lanes_of<T>(edges[(y + 1) * stride] >> bit) ? splat<T>(1) : apart + T(1);
      const V nearest = minimum(apart, rows[y * vectors + v]);
      rows[y * vectors + v] = nearest > splat<T>(T(n)) ? splat<T>(kFar<T>) : nearest * nearest * weight;
    }
  }
  pad_tile(n, run);
  return run;
}

}  // namespace fastdist::FASTDIST_LEVEL
