// exp for whole vectors. libm's is a call per number; this one is a polynomial that the compiler vectorises.
//
// exp(x) = 2^n exp(r), n = round(x log2 e), |r| <= log(2) / 2, r computed in two steps so that n log 2 is subtracted
// exactly (Cody and Waite). Taylor polynomials of degree 7 and 13: relative error below 2 ulp. For x <= 0 only, which is
// what softmax and sigmoid need; NaN gives NaN, everything below the smallest normal result gives 0.
#pragma once

#include "simd.h"

namespace fastdist::FASTDIST_LEVEL {

FASTDIST_INLINE float exp_of(float x) {
  constexpr float shifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, left in the low bits
  const float clamped = x < -87.0f ? -87.0f : x;
  const float shifted = clamped * 1.44269504f + shifter;
  const float n = shifted - shifter;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t exponent = (__builtin_bit_cast(int32_t, shifted) - __builtin_bit_cast(int32_t, shifter) + 127) << 23;
  const float result = p * __builtin_bit_cast(float, exponent);
  return x < -87.0f ? 0.0f : result;
}

FASTDIST_INLINE double exp_of(double x) {
  constexpr double shifter = 6755399441055744.0;  // 1.5 * 2^52
  const double clamped = x < -708.0 ? -708.0 : x;
  const double shifted = clamped * 1.4426950408889634 + shifter;
  const double n = shifted - shifter;
  const double r = (clamped - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 6227020800;
  p = p * r + 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const int64_t exponent = (__builtin_bit_cast(int64_t, shifted) - __builtin_bit_cast(int64_t, shifter) + 1023) << 52;
  const double result = p * __builtin_bit_cast(double, exponent);
  return x < -708.0 ? 0.0 : result;
}

}  // namespace fastdist::FASTDIST_LEVEL
