// Distances along the rows, out of the bits: the first axis of every transform, and all of it in 1-D.
//
// The column pass calls row_square() itself; the kernel serves 1-D, and columns that do not fit into shared memory.
#pragma once

#include "finish.cuh"

namespace fastdist::cuda {

// Where the nearest edges lie, seen from the word's first voxel; beyond any row where there is none.
struct Edges {
  int before, after;  // voxels before - 1 and before differ, and so do after - 1 and after
};

FASTDIST_DEVICE Edges edges_around(const RowWord& word, int lane) {
  const uint32_t upto = 0xffffffffu >> (31 - lane);
  const uint32_t below = word.edges & upto;
  const uint32_t above = uint32_t(lowest_bit(word.edges & ~upto)), after = uint32_t(word.after);  // 2^32 - 1 where there is none
  return {below ? highest_bit(below) : word.before, int(above < after ? above : after)};
}

// For row_square(): where a transform is two-sided, no voxel is at distance 0 for its bit's sake.
FASTDIST_DEVICE RowWord on_sides(RowWord word, bool one_sided) {
  if (!one_sided) word.bits = 0xffffffffu;
  return word;
}

// The squared distance of the word's voxel `lane` to the nearest voxel of the other kind in its row; 0 where its bit is clear.
template <class A>
FASTDIST_DEVICE typename A::Value row_square(const RowWord& word, int lane, int width, typename A::Value weight) {
  const Edges edges = edges_around(word, lane);
  const int behind = lane + 1 - edges.before, ahead = edges.after - lane;
  const int d = behind < ahead ? behind : ahead;
  const typename A::Value squared = d > width ? A::far() : cost_of<A>(weight, d);
  return word.bits & 1u << lane ? squared : typename A::Value(0);
}

// The key of the nearest clear voxel: (squared distance, x). Of two that are equally near the lower key wins.
FASTDIST_DEVICE int64_t row_key(const RowWord& word, int lane, int word_index, int64_t width, int64_t weight, int shift_x) {
  const int64_t base = int64_t(word_index) * 32;
  if (!(word.bits >> lane & 1)) return (base + lane) << shift_x;
  const Edges edges = edges_around(word, lane);
  const int64_t behind = lane + 1 - edges.before, ahead = edges.after - lane;
  int64_t key = Long::far();
  if (behind <= width) key = weight * behind * behind + ((base + edges.before - 1) << shift_x);
  const int64_t other = ahead > width ? Long::far() : weight * ahead * ahead + ((base + edges.after) << shift_x);
  return other < key ? other : key;
}

template <class A>
struct RowsArguments {
  Units units;
  const RowWord* planes;              // [units][units.planes][rows][words]
  int64_t rows, width;
  int words;
  double weight;                      // of the last axis
  int axis;                           // its number
  bool one_sided;
  int64_t blocks_per_unit;
  typename A::Value* results[2];      // squared distances or keys of each side, [units][rows][width]
  int squared_shift, key_shift;       // keys; -1 where they are none
};

constexpr int kRowThreads = 256;

// A warp makes a word's 32 voxels.
template <class A>
FASTDIST_KERNEL FASTDIST_BOUNDS(kRowThreads, 2) void rows(RowsArguments<A> a) {
  using Value = typename A::Value;
  const int lane = int(threadIdx.x) & 31;
  const int64_t unit = int64_t(blockIdx.x) / a.blocks_per_unit, block = int64_t(blockIdx.x) % a.blocks_per_unit;
  const Status status = status_of(a.units, unit);
  if (status.constant) return;
  const int64_t plane = a.rows * a.words, warps = a.blocks_per_unit * (blockDim.x >> 5);
  const RowWord* planes = a.planes + unit * a.units.planes * plane;
  const double weight = weight_of(a.units, unit, a.axis, a.weight);
  for (int64_t at = block * (blockDim.x >> 5) + (threadIdx.x >> 5); at < plane; at += warps) {
    const int word = int(at % a.words);
    const int64_t x = int64_t(word) * 32 + lane;
    if (x >= a.width) continue;
    const int64_t to = (unit * a.rows + at / a.words) * a.width + x;
    for (int side = 0; side < (status.split ? 2 : 1); ++side) {
      const RowWord& from = planes[(side == 0 ? 0 : a.units.boundary ? 2 : 1) * plane + at];
      if constexpr (sizeof(Value) == 8 && A::kWhole) {
        if (a.key_shift >= 0) {
          a.results[side][to] = row_key(from, lane, word, a.width, int64_t(weight) << a.squared_shift, a.key_shift);
          continue;
        }
      }
      a.results[side][to] = row_square<A>(on_sides(from, a.one_sided || status.split), lane, int(a.width), Value(weight));
    }
  }
}

}  // namespace fastdist::cuda
