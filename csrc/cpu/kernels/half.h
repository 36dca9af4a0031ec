// Half-precision numbers as bit patterns, and their conversions.
#pragma once

#include "simd.h"

namespace fastdist::FASTDIST_LEVEL {

struct Half { uint16_t bits; };      // IEEE binary16
struct BFloat { uint16_t bits; };    // the upper half of a binary32

template <class A> FASTDIST_INLINE A widen(float x) { return A(x); }
template <class A> FASTDIST_INLINE A widen(double x) { return A(x); }
template <class A> FASTDIST_INLINE A widen(BFloat x) { return A(__builtin_bit_cast(float, uint32_t(x.bits) << 16)); }

// Without branches, so that loops of it vectorise: the magnitude's bits are moved to a float's place and rescaled by 2^112,
// which is exact and gives subnormals their value too; infinity and NaN get the largest exponent.
template <class A> FASTDIST_INLINE A widen(Half x) {
  const uint32_t magnitude = uint32_t(x.bits & 0x7fff) << 13;
  const float finite = __builtin_bit_cast(float, magnitude) * 0x1p112f;
  const uint32_t special = magnitude | 0x7f800000u;
  const uint32_t bits = magnitude >= 0x0f800000u ? special : __builtin_bit_cast(uint32_t, finite);
  return A(__builtin_bit_cast(float, bits | uint32_t(x.bits & 0x8000) << 16));
}

template <class T, class A>
FASTDIST_INLINE T narrow(A value) {
  if constexpr (__is_same(T, BFloat)) {  // to nearest, ties to even
    const uint32_t bits = __builtin_bit_cast(uint32_t, float(value));
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return {uint16_t((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded)};
  } else if constexpr (__is_same(T, Half)) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, float(value));
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    // Subnormals: adding 0.5 rounds to a multiple of 2^-24, left in the low bits of the sum.
    const uint32_t tiny = __builtin_bit_cast(uint32_t, __builtin_bit_cast(float, magnitude) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13;
    const uint32_t finite = magnitude < 0x38800000u ? tiny : magnitude >= 0x47800000u ? 0x7c00u : normal;
    const uint32_t result = magnitude > 0x7f800000u ? 0x7e00u : finite;
    return {uint16_t(sign | result)};
  } else {
    return T(value);
  }
}

}  // namespace fastdist::FASTDIST_LEVEL
