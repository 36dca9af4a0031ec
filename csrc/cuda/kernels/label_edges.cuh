// The places where two neighbouring labels differ, along every axis: for label images with any number of labels.
#pragma once

#include "bits.cuh"

namespace fastdist::cuda {

struct LabelEdgesArguments {
  const void* labels;      // [images][rows][width]
  int64_t images, rows, width;
  int words;
  Element type;
  RowWord* out;            // [images][rows][words]: the edges of the rows
  uint32_t* column_edges;  // [axes][images][rows][words]: bit x where a voxel and the one before it along the axis differ
  int axes;                // all but the last
  int64_t row_step[8];     // rows from one voxel to the next along an axis
  int64_t length[8];
  bool border;
};
constexpr int kMostLabelAxes = 8;

template <class Word>
FASTDIST_DEVICE bool differ(Word a, Word b, Element type) {
  if constexpr (sizeof(Word) > 1) {  // NaN differs from everything, -0.0 from nothing that 0.0 does not
    if (is_real(type)) return !(real_of(a, type) == real_of(b, type));
  }
  return a != b;
}

// A warp makes a row.
template <class Word>
FASTDIST_KERNEL FASTDIST_BOUNDS(kPackThreads, 2) void label_edges(LabelEdgesArguments a) {
  const int lane = int(threadIdx.x) & 31, warps = int(blockDim.x) >> 5;
  const int64_t row = int64_t(blockIdx.x) * warps + (threadIdx.x >> 5), all_rows = a.images * a.rows;
  if (row >= all_rows) return;
  const Word* labels = static_cast<const Word*>(a.labels);
  RowWord* out = a.out + row * a.words;
  for (int first = 0; first < a.words; first += kLanes) {
    uint32_t edges = 0;
    const int count = a.words - first < kLanes ? a.words - first : kLanes;
    for (int k = 0; k < count; ++k) {
      const int64_t x = int64_t(first + k) * 32 + lane;
      // The first voxel's edge and the one behind the last are the border's.
      bool edge = (x == 0 || x == a.width) && a.border;
      const Word own = x < a.width ? labels[row * a.width + x] : Word(0);
      if (x > 0 && x < a.width) edge = differ(labels[row * a.width + x - 1], own, a.type);
      const uint32_t word = __ballot_sync(0xffffffffu, edge);
      if (lane == k) edges = word;
      for (int axis = 0; axis < a.axes; ++axis) {
        const bool at_begin = (row % a.rows) / a.row_step[axis] % a.length[axis] == 0;
        edge = at_begin ? a.border : false;
        if (!at_begin && x < a.width) edge = differ(labels[(row - a.row_step[axis]) * a.width + x], own, a.type);
        const uint32_t column = __ballot_sync(0xffffffffu, edge);
        if (lane == 0) a.column_edges[(axis * all_rows + row) * a.words + first + k] = column;
      }
    }
    if (lane < count) out[first + lane].bits = edges;
  }
  link_row(out, a.width, a.words, Outside{a.border, false}, Row::kEdges, lane);
}

}  // namespace fastdist::cuda
