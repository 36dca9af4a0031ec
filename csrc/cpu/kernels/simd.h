// Vectors of one instruction-set level.
//
// The kernels in this directory are compiled once per level (baseline, x86-64-v3, x86-64-v4), each time into a namespace
// of its own, and chosen at run time (cpu/dispatch.cpp). Vectors are GCC/Clang vector extensions of exactly the width of
// the level's registers: wider ones would be split through memory. Nothing here may be shared between levels: an inline
// function of the standard library, compiled here with AVX-512, could be the copy that the linker keeps for everybody.
#pragma once

#include <cstdint>

#include "../kernel_table.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define FASTDIST_INLINE inline __attribute__((always_inline))

namespace fastdist::FASTDIST_LEVEL {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename VectorOf<T>::type;

template <class T>
constexpr int kLanes = kVectorBytes / sizeof(T);
template <class T>
constexpr int kVectorsPerTile = kTile / kLanes<T>;

// The integer type of the same size: comparisons of Vec<T> give Vec<Mask<T>>.
template <int bytes> struct IntegerOf;
template <> struct IntegerOf<2> { using type = int16_t; };
template <> struct IntegerOf<4> { using type = int32_t; };
template <> struct IntegerOf<8> { using type = int64_t; };
template <class T>
using Mask = typename IntegerOf<sizeof(T)>::type;

template <class T>
FASTDIST_INLINE Vec<T> splat(T value) {
  return value - Vec<T>{};
}
template <class V>
FASTDIST_INLINE V minimum(V a, V b) {
  return a < b ? a : b;
}
template <class V>
FASTDIST_INLINE V maximum(V a, V b) {
  return a > b ? a : b;
}

// Does a < b hold in any lane?
template <class T>
FASTDIST_INLINE bool any_less(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (__is_same(T, uint32_t)) return _mm512_cmplt_epu32_mask((__m512i)a, (__m512i)b) != 0;
  if constexpr (__is_same(T, uint64_t)) return _mm512_cmplt_epu64_mask((__m512i)a, (__m512i)b) != 0;
  if constexpr (__is_same(T, float)) return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ) != 0;
  if constexpr (__is_same(T, double)) return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_epi8((__m256i)(a < b)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_epi8((__m128i)(a < b)) != 0;
#else
  auto less = a < b;
  Mask<T> any = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) any |= less[lane];
  return any != 0;
#endif
}

FASTDIST_INLINE Vec<float> square_root(Vec<float> x) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);  // GCC 12 warns of the plain one's unset operand
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
  return (Vec<float>)_mm_sqrt_ps((__m128)x);
#else
  for (int lane = 0; lane < kLanes<float>; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
#endif
}
FASTDIST_INLINE Vec<double> square_root(Vec<double> x) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)x);
#elif defined(__AVX2__)
  return (Vec<double>)_mm256_sqrt_pd((__m256d)x);
#elif defined(__SSE2__)
  return (Vec<double>)_mm_sqrt_pd((__m128d)x);
#else
  for (int lane = 0; lane < kLanes<double>; ++lane) x[lane] = __builtin_sqrt(x[lane]);
  return x;
#endif
}

// Writes a whole, aligned vector past the caches: for outputs that are larger than these.
template <class V>
FASTDIST_INLINE void stream(void* to, V value) {
#if defined(__AVX512F__)
  _mm512_stream_si512((__m512i*)to, (__m512i)value);
#elif defined(__AVX2__)
  _mm256_stream_si256((__m256i*)to, (__m256i)value);
#elif defined(__SSE2__)
  _mm_stream_si128((__m128i*)to, (__m128i)value);
#else
  __builtin_memcpy(to, &value, sizeof(V));
#endif
}
// Streamed data becomes visible to other threads in order.
FASTDIST_INLINE void end_of_stream() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// All-ones in the lanes whose bit is set; `bits` holds at least kLanes<T> bits, lowest lane first.
template <class T>
FASTDIST_INLINE Vec<Mask<T>> lanes_of(uint64_t bits) {
  Vec<Mask<T>> lane_bit;
  for (int lane = 0; lane < kLanes<T>; ++lane) lane_bit[lane] = Mask<T>(1) << lane;
  return (splat<Mask<T>>(Mask<T>(bits)) & lane_bit) != 0;
}

}  // namespace fastdist::FASTDIST_LEVEL
