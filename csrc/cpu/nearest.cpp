// Nearest sources by a plain outward search along every axis, in float64.
//
// For what the keys of the fast path cannot hold: spacings that are no multiples of each other, and images whose squared
// distance and coordinates need more than 61 bits. Among equally near sources the one with the smaller coordinate on the
// last axis wins, then on the one before it: `rank` is the position in an array with reversed axes.
#include <cmath>
#include <limits>
#include <stdexcept>

#include "edt.h"

namespace fastdist {

namespace {

struct Nearest {
  double squared;
  int64_t rank;
  bool operator<(const Nearest& other) const {
    return squared < other.squared || (squared == other.squared && rank < other.rank);
  }
};

void search_column(const Nearest* column, int64_t length, double spacing, Nearest* out, int64_t stride) {
  for (int64_t t = 0; t < length; ++t) {
    Nearest best = column[t];
    for (int64_t apart = 1; apart < length; ++apart) {
      const double cost = (spacing * double(apart)) * (spacing * double(apart));
      if (cost > best.squared) break;
      for (int64_t source : {t - apart, t + apart}) {
        if (source < 0 || source >= length) continue;
        const Nearest candidate{column[source].squared + cost, column[source].rank};
        if (candidate < best) best = candidate;
      }
    }
    out[t * stride] = best;
  }
}

}  // namespace

void nearest_by_search(const Image& image, const double* spacing, const uint64_t* foreground, const NearestOutput& out,
                       Threads threads) {
  Buffer memory(image.voxels * int64_t(sizeof(Nearest)));
  Nearest* nearest = memory.as<Nearest>();
  int64_t rank_stride[kMaxDims];
  int64_t step = 1;
  for (int a = 0; a < image.ndim; ++a) {
    rank_stride[a] = step;
    step *= image.shape[a];
  }
  threads.loop(image.rows, threads.grain(image.rows), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rank = 0, rest = row;
      for (int a = image.ndim - 2; a >= 0; --a) {
        rank += rest % image.shape[a] * rank_stride[a];
        rest /= image.shape[a];
      }
      for (int64_t x = 0; x < image.width; ++x) {
        const bool set = foreground[row * image.words + (x >> 6)] >> (x & 63) & 1;
        nearest[row * image.width + x] = {set ? std::numeric_limits<double>::infinity() : 0.0,
                                          rank + x * rank_stride[image.ndim - 1]};
      }
    }
  });
  int64_t inner = 1;
  for (int axis = image.ndim - 1; axis >= 0; --axis) {
    const int64_t length = image.shape[axis], columns = image.voxels / length;
    threads.loop(columns, threads.grain(columns), [&](int64_t begin, int64_t end) {
      std::vector<Nearest> column(static_cast<size_t>(length));
      for (int64_t c = begin; c < end; ++c) {
        Nearest* at = nearest + c / inner * inner * length + c % inner;
        for (int64_t t = 0; t < length; ++t) column[size_t(t)] = at[t * inner];
        search_column(column.data(), length, spacing[axis], at, inner);
      }
    });
    inner *= length;
  }
  threads.loop(image.voxels, threads.grain(image.voxels), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double value = out.squared ? nearest[i].squared : std::sqrt(nearest[i].squared);
      switch (out.distance_type) {
        case Element::kF64: static_cast<double*>(out.distances)[i] = value; break;
        case Element::kF32: static_cast<float*>(out.distances)[i] = float(value); break;
        case Element::kI32: static_cast<int32_t*>(out.distances)[i] = int32_t(value); break;
        default: static_cast<int64_t*>(out.distances)[i] = int64_t(value); break;
      }
      int64_t rest = nearest[i].rank;
      for (int a = 0; a < image.ndim; ++a) {
        const int64_t coordinate = rest % image.shape[a];
        rest /= image.shape[a];
        if (out.wide) static_cast<int64_t*>(out.indices)[a * out.axis_stride + i] = coordinate;
        else static_cast<int32_t*>(out.indices)[a * out.axis_stride + i] = int32_t(coordinate);
      }
    }
  });
}

}  // namespace fastdist
