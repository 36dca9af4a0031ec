// Spacings as whole numbers of one length, where there is such a length: 0.8 and 0.46875 are 128 and 75 times 0.00625.
//
// Most real spacings are commensurable like that. Squared distances are then whole numbers in units of that length squared, so
// that equal distances are seen to be equal, and a row's number fits behind them in one word.
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>

#include "metric.h"

namespace fastdist {

namespace detail {

constexpr double kMostSteps = 67108864.0;  // 2^26: the squares of larger ones leave a double's digits to nobody else

// The fraction with the smallest denominator that differs from x by a few roundings at the most: continued fractions. False
// where the numbers become too large.
inline bool fraction_of(double x, double* numerator, double* denominator) {
  const double close = x * 0x1p-50;
  double p = 1, q = 0, last_p = 0, last_q = 1, rest = x;
  for (int term = 0; term < 64; ++term) {
    const double whole = std::floor(rest);
    const double next_p = whole * p + last_p, next_q = whole * q + last_q;
    if (!(next_p <= kMostSteps && next_q <= kMostSteps)) return false;
    last_p = p, last_q = q, p = next_p, q = next_q;
    if (p > 0 && std::fabs(std::fma(-x, q, p)) <= close * q) {
      *numerator = p;
      *denominator = q;
      return true;
    }
    rest = 1 / (rest - whole);
  }
  return false;
}

}  // namespace detail

// steps[a] * *length is spacing[a], but for a few roundings.
inline bool whole_steps(const double* spacing, int ndim, double* steps, double* length) {
  if (ndim == 0) return false;
  double denominator = 1;  // of all the ratios to spacing[0]
  double above[kMaxDims], below[kMaxDims];
  for (int a = 0; a < ndim; ++a) {
    if (!detail::fraction_of(spacing[a] / spacing[0], &above[a], &below[a])) return false;
    denominator *= below[a] / double(std::gcd(int64_t(denominator), int64_t(below[a])));
    if (denominator > detail::kMostSteps) return false;
  }
  int64_t common = 0;
  for (int a = 0; a < ndim; ++a) {
    steps[a] = above[a] * (denominator / below[a]);
    if (steps[a] > detail::kMostSteps) return false;
    common = std::gcd(common, int64_t(steps[a]));
  }
  for (int a = 0; a < ndim; ++a) steps[a] /= double(common);
  *length = spacing[0] / steps[0];
  return true;
}

// A metric in whole numbers, where it is none yet and can be one of 61 bits.
inline void make_commensurable(const int64_t* shape, const double* spacing, int ndim, Metric* metric) {
  double steps[kMaxDims], length;
  if (metric->arithmetic == Arithmetic::kU32 || metric->arithmetic == Arithmetic::kU64) return;
  if (!whole_steps(spacing, ndim, steps, &length)) return;
  double weight[kMaxDims];
  for (int a = 0; a < ndim; ++a) weight[a] = steps[a] * steps[a];
  if (squared_reach(shape, weight, ndim) >= 0x1p61) return;
  for (int a = 0; a < ndim; ++a) {
    metric->spacing[a] = steps[a];
    metric->weight[a] = weight[a];
  }
  metric->scale = length;
  metric->arithmetic = Arithmetic::kU64;
}

}  // namespace fastdist
