// The arithmetics of a transform: which numbers hold squared distances, and what one costs.
//
// A column pass is a min-plus, f'(y) = min_i f(i) + w (y - i)^2. Where w is a whole number everything is, and three types
// hold it exactly: float up to 2^24, int up to 2^30, int64 beyond (and for keys, see below). Other spacings are computed in
// float, or in double for double results.
//
//   ExactFloat   float    whole numbers below 2^24: adds on one pipe, minima on another
//   Int          int32    whole numbers below 2^30
//   Long         int64    whole numbers below 2^61; or keys: squared distance in the upper bits, coordinates in the lower
//   AnyFloat     float    relative error of a few 2^-24
//   AnyDouble    double
//
// kInfinite: whole numbers among which far() is an infinity, so that sums with it need no test.
// kPairs: small distances are taken two at a time, in 16 bits each (pairs.cuh), where the GPU has instructions for that.
// kBlocks: blocks of 512 threads that a multiprocessor shall hold in the column pass, hence registers: 64 a thread for 2.
#pragma once

#include "../device.h"

namespace fastdist::cuda {

constexpr int kRun = 8;      // target rows that one thread holds in registers
constexpr int kLanes = 32;   // columns of a tile: the lanes of a warp, and the bits of a word

struct ExactFloat {
  using Value = float;
  static constexpr int kBlocks = 2;
  static constexpr bool kWhole = true;
  static constexpr bool kInfinite = true;
  static constexpr bool kPairs = true;
  static FASTDIST_DEVICE float far() { return __int_as_float(0x7f800000); }
  // Below 2^23; the bits of 2^23 + d are those of 2^23 with d in their low end. The conversion instruction has a quarter of the
  // rate.
  static FASTDIST_DEVICE float of(int d) { return __int_as_float(0x4b000000 | d) - 8388608.0f; }
};

struct Int {
  using Value = int;
  static constexpr int kBlocks = 1;
  static constexpr bool kWhole = true;
  static constexpr bool kInfinite = false;
  static constexpr bool kPairs = false;
  static FASTDIST_DEVICE int far() { return 1 << 30; }
  static FASTDIST_DEVICE int of(int d) { return d; }
};

struct Long {
  using Value = int64_t;
  static constexpr int kBlocks = 1;
  static constexpr bool kWhole = true;
  static constexpr bool kInfinite = false;
  static constexpr bool kPairs = false;
  static FASTDIST_DEVICE int64_t far() { return int64_t(1) << 62; }
  static FASTDIST_DEVICE int64_t of(int d) { return d; }
};

struct AnyFloat {
  using Value = float;
  static constexpr int kBlocks = 2;
  static constexpr bool kWhole = false;
  static constexpr bool kInfinite = false;
  static constexpr bool kPairs = false;
  static FASTDIST_DEVICE float far() { return __int_as_float(0x7f800000); }
  static FASTDIST_DEVICE float of(int d) { return float(d); }
};

struct AnyDouble {
  using Value = double;
  static constexpr int kBlocks = 1;
  static constexpr bool kWhole = false;
  static constexpr bool kInfinite = false;
  static constexpr bool kPairs = false;
  static FASTDIST_DEVICE double far() { return __longlong_as_double(0x7ff0000000000000LL); }
  static FASTDIST_DEVICE double of(int d) { return double(d); }
};

// w d^2.
template <class T>
FASTDIST_DEVICE T square_of(T weight, T distance) {
  return weight * distance * distance;
}

// w d^2, for d >= 0.
template <class A>
FASTDIST_DEVICE typename A::Value cost_of(typename A::Value weight, int d) {
  return square_of(weight, A::of(d));
}

FASTDIST_DEVICE float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
FASTDIST_DEVICE double multiply_add(double a, double b, double c) { return fma(a, b, c); }
FASTDIST_DEVICE int multiply_add(int a, int b, int c) { return a * b + c; }
FASTDIST_DEVICE int64_t multiply_add(int64_t a, int64_t b, int64_t c) { return a * b + c; }

template <class T>
FASTDIST_DEVICE T smaller(T a, T b) { return b < a ? b : a; }
FASTDIST_DEVICE float smaller(float a, float b) { return fminf(a, b); }
FASTDIST_DEVICE double smaller(double a, double b) { return fmin(a, b); }
FASTDIST_DEVICE float larger(float a, float b) { return fmaxf(a, b); }
FASTDIST_DEVICE double larger(double a, double b) { return fmax(a, b); }

}  // namespace fastdist::cuda
