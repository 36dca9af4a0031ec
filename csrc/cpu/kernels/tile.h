// Filling a tile: row distances straight from bits, and distances within a column to the nearest change of label.
#pragma once

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

template <class V>
FASTDIST_INLINE V counting_from(int first) {
  V lanes;
  for (unsigned lane = 0; lane < sizeof(V) / sizeof(lanes[0]); ++lane) lanes[lane] = first + int(lane);
  return lanes;
}

// Distances that no row of int32 counts reaches; a row of that width takes the slow path of fill_rows.
constexpr int32_t kNoEdge = 1 << 30;

// Whole-number distances of the tile's voxels to the nearest voxel beyond an edge of the row, which has at least one. An
// edge at e lies between the voxels e - 1 and e: voxel x is x - e + 1 steps from the voxel beyond an edge to its left.
FASTDIST_INLINE void steps_to_edges(const RowEdges& edges, int64_t x, int32_t* steps) {
  using V = Vec<int32_t>;
  constexpr int lanes = kLanes<int32_t>;
  const int32_t left = edges.before == kNoneBefore ? kNoEdge : int32_t(x - edges.before + 1);
  const int32_t right = edges.after == kNoneAfter ? kNoEdge + kTile : int32_t(edges.after - x);
#pragma GCC unroll 4
  for (int v = 0; v < kTile / lanes; ++v) {
    const V k = counting_from<V>(v * lanes);
    V l = k + left, r = right - k;
    if (edges.inside) {
      V up_to_k;
      for (int lane = 0; lane < lanes; ++lane) up_to_k[lane] = int32_t((2u << (v * lanes + lane)) - 1);
      const V all = splat<int32_t>(int32_t(edges.inside));
      const V below = all & up_to_k, above = all & ~up_to_k;
      l = below != 0 ? k - floor_log2(below) + 1 : l;
      r = above != 0 ? floor_log2(above & -above) - k : r;
    }
    *reinterpret_cast<V*>(steps + v * lanes) = minimum(l, r);
  }
}

// Squared row distances of the tile's voxels in units of the metric; 0 where `zero` has a bit.
template <class T>
FASTDIST_INLINE void square_steps(const int32_t* steps, uint32_t zero, T spacing, T weight, T* row) {
  if constexpr (sizeof(T) == 4) {
    using V = Vec<int32_t>;
    constexpr int lanes = kLanes<int32_t>;
#pragma GCC unroll 4
    for (int v = 0; v < kTile / lanes; ++v) {
      V d = *reinterpret_cast<const V*>(steps + v * lanes);
      d = lanes_of<T>(zero >> (v * lanes)) ? V{} : d;
      if constexpr (__is_same(T, float)) {
        const Vec<float> length = __builtin_convertvector(d, Vec<float>) * spacing;
        *reinterpret_cast<Vec<float>*>(row + v * lanes) = length * length;
      } else {
        *reinterpret_cast<V*>(row + v * lanes) = d * d * int32_t(weight);
      }
    }
  } else {
    for (int k = 0; k < kTile; ++k) {
      const T d = zero >> k & 1 ? T(0) : T(steps[k]);
      row[k] = __is_same(T, double) ? (d * spacing) * (d * spacing) : d * d * weight;
    }
  }
}

// For rows of 2^30 voxels and more.
template <class T>
FASTDIST_INLINE void square_long_steps(const RowEdges& edges, int64_t x, uint32_t zero, T spacing, T weight, T* row) {
  for (int k = 0; k < kTile; ++k) {
    const uint32_t lower = edges.inside & ((2u << k) - 1), upper = edges.inside & ~((2u << k) - 1);
    const int64_t left = x + k - (lower ? x + (31 - __builtin_clz(lower)) : edges.before) + 1;
    const int64_t right = (upper ? x + __builtin_ctz(upper) : edges.after) - x - k;
    const T d = zero >> k & 1 ? T(0) : T(left < right ? left : right);
    row[k] = __is_same(T, double) || __is_same(T, float) ? (d * spacing) * (d * spacing) : d * d * weight;
  }
}

// Row y of the tile at column x: squared distance along the row to the nearest other label (one-sided: to the nearest clear
// bit).
template <class T>
FASTDIST_INLINE void fill_row(const PlanePass& pass, const RowEdges& edges, uint32_t zero, int64_t x, T* row) {
  if (edges.inside == 0 && edges.before == kNoneBefore && edges.after == kNoneAfter) {
    const T value = zero & 1 ? T(0) : kFar<T>;  // the row is all source or has none
    for (int k = 0; k < kTile; ++k) row[k] = value;
    return;
  }
  const T spacing = T(pass.spacing_x), weight = T(pass.weight_x);
  if (sizeof(T) == 8 && pass.width >= kNoEdge) return square_long_steps<T>(edges, x, zero, spacing, weight, row);
  alignas(64) int32_t steps[kTile];
  steps_to_edges(edges, x, steps);
  square_steps<T>(steps, zero, spacing, weight, row);
}

// The rows of `tiles` adjacent tiles within one word of bits, each [padded rows][kTile]. Most words hold no edge: then all
// tiles share the word's neighbours.
template <class T>
FASTDIST_INLINE void fill_rows(const PlanePass& pass, int64_t x, int tiles, T* group) {
  const int64_t words = words_per_row(pass.width), w = x >> 6, tile_size = padded_rows(pass.height) * kTile;
  const uint64_t* row_edges = pass.edges_x + w;
  const Neighbours* neighbours = pass.neighbours + w;
  const uint64_t* foreground = pass.foreground ? pass.foreground + w : nullptr;
  for (int64_t y = 0; y < pass.height; ++y, row_edges += words, neighbours += words) {
    T* row = group + y * kTile;
    const uint64_t zero = foreground ? ~foreground[y * words] : 0;
    if (*row_edges == 0) {
      for (int t = 0; t < tiles; ++t, row += tile_size) {
        const int64_t begin = x + t * kTile;
        fill_row<T>(pass, {0, neighbours->before, neighbours->after}, uint32_t(zero >> (begin & 63)) & 0xffff, begin, row);
      }
    } else {
      for (int t = 0; t < tiles; ++t, row += tile_size) {
        const int64_t begin = x + t * kTile;
        const RowEdges edges = edges_around(row_edges - w, neighbours - w, begin);
        fill_row<T>(pass, edges, uint32_t(zero >> (begin & 63)) & 0xffff, begin, row);
      }
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
