// The exact distance transform of one image: bits in, squared distances, distances or signed values out.
#pragma once

#include <vector>

#include "../core/metric.h"
#include "buffer.h"
#include "kernel_table.h"
#include "threads.h"

namespace fastdist {

struct Image {
  int ndim = 0;
  int64_t shape[kMaxDims] = {};
  int64_t voxels = 1;
  int64_t width = 1;   // the last axis
  int64_t rows = 1;    // all others together
  int64_t words = 1;   // of a row of bits
  Image(const int64_t* sizes, int dims);
  int64_t bit_words() const { return rows * words; }
};

// What distances are measured to.
struct Sources {
  const uint64_t* foreground = nullptr;  // bit plane; a change of bit is an edge
  bool one_sided = false;                // to the nearest clear bit; otherwise to the nearest voxel of the other kind
  bool border = false;                   // everything outside the image is clear (labels: differs from every label)
  const void* labels = nullptr;          // instead of foreground: an edge is where two labels differ
  Element label_type = Element::kU8;
};

struct Result {
  Finish finish;
  void* out = nullptr;            // of the image
  const Epilogue* epilogue = nullptr;
  bool out_is_scratch = true;     // `out` may hold intermediate squares, where the sizes of the types agree
};

// False if there was nothing to measure to (no edge in a label image): the output is then undefined.
bool transform(const Image& image, const Metric& metric, const Sources& sources, const Result& result, Threads threads);

}  // namespace fastdist
