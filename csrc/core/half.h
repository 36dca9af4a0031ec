// Half-precision numbers as bit patterns, and their conversions: the same values on every processor.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define FASTDIST_ANYWHERE __host__ __device__ __forceinline__
#else
#define FASTDIST_ANYWHERE inline __attribute__((always_inline))
#endif

namespace fastdist {

struct Half { uint16_t bits; };      // IEEE binary16
struct BFloat { uint16_t bits; };    // the upper half of a binary32

FASTDIST_ANYWHERE uint32_t bits_of(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return __builtin_bit_cast(uint32_t, x);
#endif
}
FASTDIST_ANYWHERE float float_of_bits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return __builtin_bit_cast(float, bits);
#endif
}

FASTDIST_ANYWHERE double double_of_bits(uint64_t bits) {
#if defined(__CUDA_ARCH__)
  return __longlong_as_double((long long)bits);
#else
  return __builtin_bit_cast(double, bits);
#endif
}

FASTDIST_ANYWHERE float float_of(BFloat x) { return float_of_bits(uint32_t(x.bits) << 16); }

// Without branches, so that loops of it vectorise: the magnitude's bits are moved to a float's place and rescaled by 2^112,
// which is exact and gives subnormals their value too; infinity and NaN get the largest exponent.
FASTDIST_ANYWHERE float float_of(Half x) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
#else
  const uint32_t magnitude = uint32_t(x.bits & 0x7fff) << 13;
  const float finite = float_of_bits(magnitude) * 0x1p112f;
  const uint32_t special = magnitude | 0x7f800000u;
  const uint32_t bits = magnitude >= 0x0f800000u ? special : bits_of(finite);
  return float_of_bits(bits | uint32_t(x.bits & 0x8000) << 16);
#endif
}

// To nearest, ties to even.
FASTDIST_ANYWHERE BFloat bfloat_of(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  BFloat narrow;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
#else
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return {uint16_t((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded)};
#endif
}

// To nearest, ties to even.
FASTDIST_ANYWHERE Half half_of(float value) {
#if defined(__CUDA_ARCH__)
  Half narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
#else
  const uint32_t bits = bits_of(value);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  // Subnormals: adding 0.5 rounds to a multiple of 2^-24, left in the low bits of the sum.
  const uint32_t tiny = bits_of(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13;
  const uint32_t finite = magnitude < 0x38800000u ? tiny : magnitude >= 0x47800000u ? 0x7c00u : normal;
  const uint32_t result = magnitude > 0x7f800000u ? 0x7e00u : finite;
  return {uint16_t(sign | result)};
#endif
}

}  // namespace fastdist
