// The outermost voxels of a class, as a plane made of two others.
#pragma once

#include "bits.cuh"

namespace fastdist::cuda {

struct InnerArguments {
  RowWord* planes;       // [units][3][rows][words]: 0 "not inside", 1 "not outside"; 2, written here: "not on the boundary"
  int64_t units, rows, width;
  int words;
  int64_t height, depth; // rows = depth * height
  int ndim;              // an axis that an image does not have has no outside
  bool border;           // the outside of the image is outside of the class
  int parts;
  int64_t rows_per_part;
  uint32_t* seen;        // [units][parts]: nonzero where the part holds a voxel of the boundary
};

// The boundary is the inside voxels that touch an outside voxel with a face, an edge or a corner. A warp makes a row.
FASTDIST_KERNEL FASTDIST_BOUNDS(kPackThreads, 2) void inner_boundary(InnerArguments a) {
  const int lane = int(threadIdx.x) & 31, warp = int(threadIdx.x) >> 5, warps = int(blockDim.x) >> 5;
  const int part = int(int64_t(blockIdx.x) % a.parts);
  const int64_t unit = int64_t(blockIdx.x) / a.parts, plane = a.rows * a.words;
  const RowWord* not_inside = a.planes + unit * 3 * plane;
  const RowWord* not_outside = not_inside + plane;
  const int64_t begin = part * a.rows_per_part;
  const int64_t end = begin + a.rows_per_part < a.rows ? begin + a.rows_per_part : a.rows;
  uint32_t any = 0;
  for (int64_t row = begin + warp; row < end; row += warps) {
    const int64_t y = row % a.height, z = row / a.height;
    RowWord* out = a.planes + (unit * 3 + 2) * plane + row * a.words;
    for (int first = 0; first < a.words; first += kLanes) {
      const int word = first + lane;
      uint32_t touching = 0;
      if (word < a.words) {
        auto outside = [&](int64_t of_row, int w) -> uint32_t {
          if (w < 0 || w >= a.words) return 0;
          return ~not_outside[of_row * a.words + w].bits & voxels_of_word(a.width, w);
        };
        const int deep = a.ndim >= 3, high = a.ndim >= 2;
        for (int dz = -deep; dz <= deep; ++dz)
          for (int dy = -high; dy <= high; ++dy) {
            if (z + dz < 0 || z + dz >= a.depth || y + dy < 0 || y + dy >= a.height) {
              if (a.border) touching = 0xffffffffu;
              continue;
            }
            const int64_t of_row = row + dz * a.height + dy;
            const uint32_t own = outside(of_row, word);
            touching |= own | own << 1 | own >> 1 | outside(of_row, word - 1) >> 31 | outside(of_row, word + 1) << 31;
          }
        if (a.border && word == 0) touching |= 1u;
        if (a.border && word == int((a.width - 1) >> 5)) touching |= 1u << ((a.width - 1) & 31);
      }
      const uint32_t here = voxels_of_word(a.width, word);
      const uint32_t boundary = word < a.words ? touching & ~not_inside[row * a.words + word].bits & here : 0u;
      any |= boundary;
      if (word < a.words) out[word].bits = here & ~boundary;
    }
    link_row(out, a.width, a.words, Outside{}, Row::kClasses, lane);
  }
  const int found = __syncthreads_or(any != 0);
  if (threadIdx.x == 0) a.seen[unit * a.parts + part] = found;
}

}  // namespace fastdist::cuda
