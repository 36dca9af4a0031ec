// Keys: a squared distance and the coordinates of its source in one 64-bit number, so that the smaller key is the nearer source.
//
// The last axis has the highest place behind the squared distance, axis 0 the lowest: of two sources that are equally near the
// one with the smaller coordinate on the last axis has the smaller key, then on the one before it. That is SciPy's rule.
#pragma once

#include <cmath>

#include "metric.h"

namespace fastdist {

struct KeyLayout {
  uint8_t shift[kMaxDims] = {};  // where the coordinate on an axis begins
  uint8_t bits[kMaxDims] = {};
  int squared_shift = 0;         // where the squared distance begins
  bool fits = false;             // into 61 bits: sums and the marker "no source" need the rest
};

inline KeyLayout make_key_layout(const int64_t* shape, const double* weight, int ndim) {
  const auto bits_for = [](double largest) {
    int bits = 1;
    while (std::ldexp(1.0, bits) <= largest) ++bits;
    return bits;
  };
  KeyLayout layout;
  int shift = 0;
  for (int axis = 0; axis < ndim; ++axis) {
    layout.bits[axis] = uint8_t(bits_for(double(shape[axis] - 1)));
    layout.shift[axis] = uint8_t(shift < 64 ? shift : 63);
    shift += layout.bits[axis];
  }
  layout.squared_shift = shift;
  layout.fits = shift + bits_for(squared_reach(shape, weight, ndim)) <= 61;
  return layout;
}

}  // namespace fastdist
