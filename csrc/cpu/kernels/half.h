// Half-precision numbers in the kernels: core/half.h's conversions, from and to any type that sums are taken in.
#pragma once

#include "../../core/half.h"
#include "simd.h"

namespace fastdist::FASTDIST_LEVEL {

template <class A> FASTDIST_INLINE A widen(float x) { return A(x); }
template <class A> FASTDIST_INLINE A widen(double x) { return A(x); }
template <class A> FASTDIST_INLINE A widen(BFloat x) { return A(float_of(x)); }
template <class A> FASTDIST_INLINE A widen(Half x) { return A(float_of(x)); }

template <class T, class A>
FASTDIST_INLINE T narrow(A value) {
  if constexpr (__is_same(T, BFloat)) return bfloat_of(float(value));
  else if constexpr (__is_same(T, Half)) return half_of(float(value));
  else return T(value);
}

}  // namespace fastdist::FASTDIST_LEVEL
