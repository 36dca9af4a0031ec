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

// What the voxels of a word measure to in their row: clear voxels, or where a transform is two-sided edges, which lie half a
// voxel before the place that they are named after. All as distances, which are beyond 2^30 where there is none.
struct Marks {
  uint32_t forward;   // bit x: a mark at voxel x
  uint32_t backward;  // the same from the other end
  uint32_t before;    // from the last mark before the word to its voxel 0
  uint32_t after;     // from voxel 0 to the first mark behind
};

constexpr uint32_t kNoMark = 1u << 30;

// As one word of 16 bytes, which is read in one go.
FASTDIST_DEVICE uint4 packed(const Marks& marks) { return {marks.forward, marks.backward, marks.before, marks.after}; }
FASTDIST_DEVICE Marks unpacked(const uint4& word) { return {word.x, word.y, word.z, word.w}; }

// `here`: the word's bits that are voxels.
FASTDIST_DEVICE Marks marks_of(const RowWord& word, bool one_sided, uint32_t here) {
  if (!one_sided) return {word.edges, __brev(word.edges) << 1, uint32_t(-word.before), uint32_t(word.after) - 1};
  // Of an edge's two sides the clear one, where the word's own end is not clear: if it is, nothing beyond is nearer. An edge
  // behind the last voxel says that the outside is.
  const uint32_t clear = (~word.bits & here) | (word.edges & ~here);
  return {clear, __brev(clear), uint32_t(1 - (word.edges & 1 ? 0 : word.before)), uint32_t(word.after)};
}

FASTDIST_DEVICE bool any_mark(const Marks& marks) {
  return marks.forward || marks.before < kNoMark || marks.after < kNoMark;
}

// The squared distance of the word's voxel `lane` to the nearest voxel of the other kind in its row; where a transform is
// one-sided, to the nearest clear voxel.
template <class A>
FASTDIST_DEVICE typename A::Value row_square(const Marks& marks, int lane, bool one_sided, typename A::Value weight) {
  const auto nearer = [](uint32_t a, uint32_t b) { return a < b ? a : b; };
  const uint32_t behind = nearer(shift_to_highest(marks.forward << (31 - lane)), marks.before + lane);
  const uint32_t ahead = nearer(shift_to_highest(marks.backward << lane), marks.after - lane);
  const uint32_t marked = nearer(behind, ahead);
  const int other = one_sided ? 0 : 1;  // an edge is half a voxel nearer than the voxels that it separates are to each other
  if constexpr (A::kInfinite) {
    // As A::of(), in one addition; 2^30 and more become the bits of infinity.
    const float d = __int_as_float(int(0x4b000000u + nearer(marked, 0x7f800000u - 0x4b000000u))) - (8388608.0f - float(other));
    return weight * d * d;
  } else {
    return marked < kNoMark ? cost_of<A>(weight, int(marked) + other) : A::far();
  }
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
      const bool one_sided = a.one_sided || status.split;
      a.results[side][to] = row_square<A>(marks_of(from, one_sided, voxels_of_word(a.width, word)), lane, one_sided, Value(weight));
    }
  }
}

}  // namespace fastdist::cuda
