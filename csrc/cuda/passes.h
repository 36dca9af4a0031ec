// From planes of bits to results: one launch for the rows and the first columns together, one for each further axis.
#pragma once

#include "kernels/columns.cuh"
#include "transform.h"

namespace fastdist::cuda {

struct Passes {
  const Image& image;
  int64_t units;
  Units of_unit;                // what the kernels know of a unit
  Finish finish;
  const RowWord* planes;
  const uint32_t* label_edges;  // [ndim - 1][units][rows][words]; or null
  double weight[kMaxDims];      // of each axis, where all images have the same
  bool one_sided;
  bool keys;                    // squared distances and coordinates together, laid out as `finish` says
};

// The numbers that hold the squared distances.
enum class Numbers { kExactFloat, kInt, kLong, kAnyFloat, kAnyDouble };

void run_passes(Numbers numbers, const Passes& passes, const Context& context);

template <class A>
void run_passes_in(const Passes& passes, const Context& context);  // passes_*.cu

// How the metric's arithmetic is done here. `known`: the spacings are, on the host.
Numbers numbers_for(const Image& image, const Metric& metric, bool known, bool float64);

}  // namespace fastdist::cuda
