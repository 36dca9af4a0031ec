// Which arithmetic is exact for an image: the choice of number type and the weight of each axis.
//
// A squared distance is sum_a w_a d_a^2 with whole numbers d_a. Where all weights can be whole numbers too (unit spacing,
// integer spacing, or spacings that are whole multiples of the smallest) everything is computed in integers and scaled
// once at the end: exact, and faster than floating point, since integer add and min have more execution ports.
#pragma once

#include <cmath>
#include <cstdint>

namespace fastdist {

constexpr int kMaxDims = 64;  // what a NumPy array can have

enum class Arithmetic { kU32, kU64, kF32, kF64 };

struct Metric {
  Arithmetic arithmetic;
  double weight[kMaxDims];   // w_a: squared spacing, in units of scale^2
  double spacing[kMaxDims];  // sqrt(w_a)
  double scale;              // physical length of one unit
  double smallest;           // the smallest physical spacing, h of the zero conventions
  double diagonal;           // physical diagonal sqrt(sum (n_a h_a)^2)
};

namespace detail {
inline bool is_whole(double x) { return x == std::floor(x) && x >= 1 && x <= 1048576.0; }
}  // namespace detail

// Largest value that an intermediate sum may take before the marker "no source" (half the range of the type) is reached.
// Costs are tabulated up to 16 rows beyond the axis, and a border adds a source one step outside.
inline double squared_reach(const int64_t* shape, const double* weight, int ndim) {
  double reach = 0;
  for (int a = 0; a < ndim; ++a) reach += weight[a] * double(shape[a] + 16) * double(shape[a] + 16);
  return reach;
}

inline Metric make_metric(const int64_t* shape, const double* spacing, int ndim, bool float64) {
  Metric metric{};
  metric.smallest = ndim > 0 ? spacing[0] : 1.0;
  bool whole = true;
  for (int a = 0; a < ndim; ++a) {
    metric.smallest = spacing[a] < metric.smallest ? spacing[a] : metric.smallest;
    metric.diagonal += double(shape[a]) * spacing[a] * double(shape[a]) * spacing[a];
    whole = whole && detail::is_whole(spacing[a]);
  }
  metric.diagonal = std::sqrt(metric.diagonal);
  metric.scale = whole ? 1.0 : metric.smallest;
  bool integral = true;
  for (int a = 0; a < ndim; ++a) {
    double ratio = std::round(spacing[a] / metric.scale);
    if (!(ratio * metric.scale == spacing[a]) || !detail::is_whole(ratio)) integral = false;
  }
  if (!integral) metric.scale = 1.0;
  bool long_axis = false;
  for (int a = 0; a < ndim; ++a) {
    metric.spacing[a] = integral ? std::round(spacing[a] / metric.scale) : spacing[a];
    metric.weight[a] = metric.spacing[a] * metric.spacing[a];
    long_axis = long_axis || shape[a] >= (int64_t(1) << 30);
  }
  double reach = squared_reach(shape, metric.weight, ndim);
  if (integral && reach < 2147483648.0) {
    metric.arithmetic = Arithmetic::kU32;
  } else if (integral && reach < 4611686018427387904.0) {
    metric.arithmetic = Arithmetic::kU64;
  } else {
    metric.arithmetic = float64 || long_axis ? Arithmetic::kF64 : Arithmetic::kF32;
  }
  return metric;
}

}  // namespace fastdist
