// The end of a transform: squared distances, or keys, of a run of voxels become what the user asked for.
#pragma once

#include "units.cuh"

namespace fastdist::cuda {

struct Finish {
  void* out;             // [units][rows][width]
  Element type;          // float32, float64; squared also int32, int64
  bool squared;
  double clip;           // signed: largest magnitude; infinity for none
  // Keys: squared distance << squared_shift | coordinates, each in its own bits.
  void* indices;         // [ndim][units][rows][width]; or null
  bool wide;             // int64 indices
  int ndim;
  int64_t axis_stride;   // elements from one axis' coordinates to the next axis'
  int squared_shift;
  uint8_t shift[64], bits[64];
};

// Which voxels of a run are written, and as what: bit k is voxel k.
struct RunBits {
  uint32_t write;
  uint32_t inside;   // signed: the sign
  uint32_t ignored;  // signed: the value is 0
};

// Correctly rounded: a double root has more than twice a float's digits.
FASTDIST_DEVICE void take_root(float squared, float* root) { *root = __fsqrt_rn(squared); }
FASTDIST_DEVICE void take_root(float squared, double* root) { *root = __dsqrt_rn(double(squared)); }
FASTDIST_DEVICE void take_root(double squared, double* root) { *root = __dsqrt_rn(squared); }
FASTDIST_DEVICE void take_root(double squared, float* root) { *root = float(__dsqrt_rn(squared)); }
template <class Out>
FASTDIST_DEVICE void take_root(int squared, Out* root) { *root = Out(__dsqrt_rn(double(squared))); }
template <class Out>
FASTDIST_DEVICE void take_root(int64_t squared, Out* root) { *root = Out(__dsqrt_rn(double(squared))); }

FASTDIST_DEVICE float product(float a, float b) { return __fmul_rn(a, b); }  // never part of a fused multiply-add
FASTDIST_DEVICE double product(double a, double b) { return __dmul_rn(a, b); }

template <class Out>
FASTDIST_DEVICE Out infinity_of() { return Out(__int_as_float(0x7f800000)); }

template <class A, class Out>
FASTDIST_DEVICE void store_values(const Finish& finish, const Lengths& lengths, bool is_signed,
                                  const typename A::Value* value, const RunBits& bits, int64_t at, int64_t step) {
  Out* out = static_cast<Out*>(finish.out) + at;
  const Out scale = Out(lengths.scale), inside_shift = Out(lengths.inside_shift), outside_shift = Out(lengths.outside_shift);
  const Out clip = Out(finish.clip);
#pragma unroll
  for (int k = 0; k < kRun; ++k) {
    Out result;
    if (finish.squared) {
      result = lengths.scale == 1.0 ? Out(value[k]) : Out(double(value[k]) * (lengths.scale * lengths.scale));
    } else {
      take_root(value[k], &result);
      result = product(result, scale);
    }
    if (is_signed) {
      result = bits.inside >> k & 1 ? inside_shift - result : result - outside_shift;
      result = result < -clip ? -clip : result > clip ? clip : result;
      if (lengths.divisor != 1.0) result = Out(double(result) / lengths.divisor);
      if (bits.ignored >> k & 1) result = 0;
    } else if (!(value[k] < A::far())) {
      result = infinity_of<Out>();
    }
    if (bits.write >> k & 1) out[k * step] = result;
  }
}

template <class A, class Out>
FASTDIST_DEVICE void store_whole(const Finish& finish, const typename A::Value* value, const RunBits& bits, int64_t at,
                                 int64_t step) {
  Out* out = static_cast<Out*>(finish.out) + at;
  const Out none = Out(~(uint64_t(1) << (sizeof(Out) * 8 - 1)));  // the largest number
#pragma unroll
  for (int k = 0; k < kRun; ++k)
    if (bits.write >> k & 1) out[k * step] = value[k] < A::far() ? Out(value[k]) : none;
}

// Voxel k of the run goes to element at + k * step.
template <class A>
FASTDIST_DEVICE void finish_run(const Finish& finish, const Lengths& lengths, bool is_signed, const typename A::Value* value,
                                const RunBits& bits, int64_t at, int64_t step) {
  switch (finish.type) {
    case Element::kF32: return store_values<A, float>(finish, lengths, is_signed, value, bits, at, step);
    case Element::kF64: return store_values<A, double>(finish, lengths, is_signed, value, bits, at, step);
    case Element::kI32: return store_whole<A, int32_t>(finish, value, bits, at, step);
    default: return store_whole<A, int64_t>(finish, value, bits, at, step);
  }
}

// A constant, for voxels that are known.
FASTDIST_DEVICE void store_constant(const Finish& finish, bool ignored, double value, int64_t at) {
  const double result = ignored ? 0.0 : value;
  switch (finish.type) {
    case Element::kF32: static_cast<float*>(finish.out)[at] = float(result); break;
    case Element::kF64: static_cast<double*>(finish.out)[at] = result; break;
    case Element::kI32: static_cast<int32_t*>(finish.out)[at] = int32_t(result); break;
    default: static_cast<int64_t*>(finish.out)[at] = int64_t(result); break;
  }
}

FASTDIST_DEVICE void store_coordinate(const Finish& finish, int axis, int64_t coordinate, int64_t at) {
  if (finish.wide) static_cast<int64_t*>(finish.indices)[axis * finish.axis_stride + at] = coordinate;
  else static_cast<int32_t*>(finish.indices)[axis * finish.axis_stride + at] = int32_t(coordinate);
}

FASTDIST_DEVICE void finish_key(const Finish& finish, const Lengths& lengths, int64_t key, int64_t at) {
  const bool none = !(key < Long::far());
  const int64_t squared = key >> finish.squared_shift;
  if (finish.type == Element::kI32 || finish.type == Element::kI64) {
    const int64_t largest = finish.type == Element::kI32 ? 0x7fffffff : 0x7fffffffffffffff;
    if (finish.type == Element::kI32) static_cast<int32_t*>(finish.out)[at] = int32_t(none ? largest : squared);
    else static_cast<int64_t*>(finish.out)[at] = none ? largest : squared;
  } else {
    double value = double(squared);
    value = finish.squared ? product(value, product(lengths.scale, lengths.scale)) : product(__dsqrt_rn(value), lengths.scale);
    if (none) value = infinity_of<double>();
    store_constant(finish, false, value, at);
  }
  for (int axis = 0; axis < finish.ndim; ++axis) {
    const int64_t coordinate = int64_t(uint64_t(key) >> finish.shift[axis] & ((uint64_t(1) << finish.bits[axis]) - 1));
    store_coordinate(finish, axis, none ? -1 : coordinate, at);
  }
}

}  // namespace fastdist::cuda
