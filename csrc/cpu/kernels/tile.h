// Filling a tile: row distances straight from bits, and distances within a column to the nearest change of label.
#pragma once

#include "../kernel_table.h"
#include "columns.h"

namespace fastdist::FASTDIST_LEVEL {

// For a byte of edge bits and a position k in it: distance of voxel k to the nearest voxel beyond one of the byte's edges.
// An edge at bit e lies between voxels e - 1 and e.
struct EdgeTable {
  uint32_t apart[256][8];
  constexpr EdgeTable() : apart() {
    for (int byte = 0; byte < 256; ++byte)
      for (int k = 0; k < 8; ++k) {
        uint32_t nearest = 1u << 30;
        for (int e = 0; e < 8; ++e)
          if (byte >> e & 1) {
            const uint32_t d = uint32_t(e <= k ? k - e + 1 : e - k);
            nearest = d < nearest ? d : nearest;
          }
        apart[byte][k] = nearest;
      }
  }
};
constexpr EdgeTable kEdgeTable{};

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

// Whole-number row distances of 16 voxels to the nearest edge. At least one edge must exist in the row.
template <class Count>
FASTDIST_INLINE void row_distances(const RowEdges& edges, int64_t x, Count* apart) {
  constexpr int64_t limit = sizeof(Count) == 4 ? int64_t(1) << 30 : int64_t(1) << 40;
  auto left_of = [&](int64_t begin, int64_t edge) __attribute__((always_inline)) {
    return Count(edge == kNoneBefore ? limit : begin - edge + 1);
  };
  auto right_of = [&](int64_t begin, int64_t edge) __attribute__((always_inline)) {
    return Count(edge == kNoneAfter ? limit + kTile : edge - begin);
  };
  if (edges.inside == 0) {
    const Count left = left_of(x, edges.before), right = right_of(x, edges.after);
    for (int k = 0; k < kTile; ++k) {
      Count l = left + Count(k), r = right - Count(k);
      apart[k] = l < r ? l : r;
    }
    return;
  }
  for (int byte = 0; byte < kTile / 8; ++byte) {
    const uint32_t bits = edges.inside >> (8 * byte) & 0xff;
    const uint32_t lower = edges.inside & ((1u << (8 * byte)) - 1);
    const uint32_t upper = edges.inside >> (8 * byte + 8);
    const int64_t begin = x + 8 * byte;
    const Count left = left_of(begin, lower ? x + (31 - __builtin_clz(lower)) : edges.before);
    const Count right = right_of(begin, upper ? begin + 8 + __builtin_ctz(upper) : edges.after);
    const uint32_t* within = kEdgeTable.apart[bits];
    for (int k = 0; k < 8; ++k) {
      Count l = left + Count(k), r = right - Count(k);
      Count nearest = l < r ? l : r;
      // A byte without edges has 2^30 here, more than any finite distance of the row.
      if constexpr (sizeof(Count) == 4) nearest = Count(within[k]) < nearest ? Count(within[k]) : nearest;
      else if (bits) nearest = Count(within[k]) < nearest ? Count(within[k]) : nearest;
      apart[8 * byte + k] = nearest;
    }
  }
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

// Rows of the tile at column x: squared distance along the row to the nearest other label (sources: to the nearest source).
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

// run: [padded n][kTile], squared distance along the column to the nearest voxel beyond an edge. `edge_bits(y)` gives the
// 16 edge bits between rows y - 1 and y, for 0 <= y <= n.
template <class T, class EdgeBits>
FASTDIST_INLINE void fill_runs(int64_t n, T weight, const EdgeBits& edge_bits, T* run) {
  using V = Vec<T>;
  constexpr int vectors = kVectorsPerTile<T>;
  const T beyond = T(2) * T(n) + T(64);  // more than any distance within the column
  V* rows = reinterpret_cast<V*>(run);
  V apart[vectors];
  for (int v = 0; v < vectors; ++v) apart[v] = splat<T>(beyond);
  for (int64_t y = 0; y < n; ++y) {
    const uint32_t bits = edge_bits(y);
    for (int v = 0; v < vectors; ++v) {
      apart[v] = lanes_of<T>(bits >> (v * kLanes<T>)) ? splat<T>(1) : apart[v] + T(1);
      rows[y * vectors + v] = apart[v];
    }
  }
  for (int v = 0; v < vectors; ++v) apart[v] = splat<T>(beyond);
  for (int64_t y = n - 1; y >= 0; --y) {
    const uint32_t bits = edge_bits(y + 1);
    for (int v = 0; v < vectors; ++v) {
      apart[v] = lanes_of<T>(bits >> (v * kLanes<T>)) ? splat<T>(1) : apart[v] + T(1);
      V nearest = minimum(apart[v], rows[y * vectors + v]);
      rows[y * vectors + v] = nearest > splat<T>(T(n)) ? splat<T>(kFar<T>) : nearest * nearest * weight;
    }
  }
}

// Rows past the end hold `kFar`, so that they neither serve nor matter.
template <class T>
FASTDIST_INLINE void pad_tile(int64_t n, T* tile) {
  for (int64_t i = n * kTile; i < padded_rows(n) * kTile; ++i) tile[i] = kFar<T>;
}

}  // namespace fastdist::FASTDIST_LEVEL
