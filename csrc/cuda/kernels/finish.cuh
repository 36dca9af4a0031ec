// The end of a transform: squared distances, or keys, become what the user asked for.
//
// Float results are finished by the last column pass itself; whatever else by a sweep of its own, the kernel below.
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

// Correctly rounded: a double root has more than twice a float's digits.
FASTDIST_DEVICE void take_root(float squared, float* root) { *root = __fsqrt_rn(squared); }
FASTDIST_DEVICE void take_root(float squared, double* root) { *root = __dsqrt_rn(double(squared)); }
template <class Squared, class Out>
FASTDIST_DEVICE void take_root(Squared squared, Out* root) { *root = Out(__dsqrt_rn(double(squared))); }

// The correctly rounded root of a whole number from 1 to 2^24, given its reciprocal root to within 2^-22.9: what the compiler
// makes of a square root, without the way that very small and very large numbers take. (tests/test_emulator.py tries all.)
FASTDIST_DEVICE float whole_root(float x, float reciprocal) {
  const float root = __fmul_rn(x, reciprocal), rest = __fmaf_rn(-root, root, x);
  return __fmaf_rn(rest, __fmul_rn(reciprocal, 0.5f), root);
}

// Of a squared distance below far().
template <class A>
FASTDIST_DEVICE float root_of(typename A::Value squared) {
  float root;
  if constexpr (A::kInfinite) root = whole_root(squared, rough_reciprocal_root(squared + 0x1p-60f));  // 0 of 0
  else take_root(squared, &root);
  return root;
}

FASTDIST_DEVICE float product(float a, float b) { return __fmul_rn(a, b); }  // never part of a fused multiply-add
FASTDIST_DEVICE double product(double a, double b) { return __dmul_rn(a, b); }

template <class Out>
FASTDIST_DEVICE Out infinity_of() { return Out(__int_as_float(0x7f800000)); }

// What of `Lengths` and `Finish` a value needs, in its own type.
template <class Out>
struct Signs {
  Out scale, inside_shift, outside_shift, clip;
  FASTDIST_DEVICE Signs(const Lengths& lengths, double largest)
      : scale(Out(lengths.scale)), inside_shift(Out(lengths.inside_shift)), outside_shift(Out(lengths.outside_shift)),
        clip(Out(largest)) {}
  FASTDIST_DEVICE Out operator()(Out root, bool inside) const { return clipped(unclipped(root, inside)); }
  FASTDIST_DEVICE Out unclipped(Out root, bool inside) const {
    const Out distance = product(root, scale);
    return (inside ? inside_shift : -outside_shift) + (inside ? -distance : distance);
  }
  FASTDIST_DEVICE Out clipped(Out value) const { return smaller(larger(value, -clip), clip); }
};

template <class A, class Out>
FASTDIST_DEVICE Out unsigned_value(typename A::Value squared, bool take_squared, double scale) {
  if (!(squared < A::far())) return infinity_of<Out>();
  if (take_squared) return scale == 1.0 ? Out(squared) : Out(double(squared) * (scale * scale));
  Out root;
  take_root(squared, &root);
  return product(root, Out(scale));
}

// A value that is not a matter of distances.
FASTDIST_DEVICE void store_constant(const Finish& finish, double value, int64_t at) {
  switch (finish.type) {
    case Element::kF32: static_cast<float*>(finish.out)[at] = float(value); break;
    case Element::kF64: static_cast<double*>(finish.out)[at] = value; break;
    case Element::kI32: static_cast<int32_t*>(finish.out)[at] = int32_t(value); break;
    default: static_cast<int64_t*>(finish.out)[at] = int64_t(value); break;
  }
}

FASTDIST_DEVICE void store_coordinate(const Finish& finish, int axis, int64_t coordinate, int64_t at) {
  if (finish.wide) static_cast<int64_t*>(finish.indices)[axis * finish.axis_stride + at] = coordinate;
  else static_cast<int32_t*>(finish.indices)[axis * finish.axis_stride + at] = int32_t(coordinate);
}

FASTDIST_DEVICE int64_t load_coordinate(const Finish& finish, int axis, int64_t at) {
  return finish.wide ? static_cast<const int64_t*>(finish.indices)[axis * finish.axis_stride + at]
                     : static_cast<const int32_t*>(finish.indices)[axis * finish.axis_stride + at];
}

FASTDIST_DEVICE void store_whole(const Finish& finish, bool none, int64_t value, int64_t at) {
  if (finish.type == Element::kI32) static_cast<int32_t*>(finish.out)[at] = none ? 0x7fffffff : int32_t(value);
  else static_cast<int64_t*>(finish.out)[at] = none ? 0x7fffffffffffffff : value;
}

FASTDIST_DEVICE void finish_key(const Finish& finish, double scale, int64_t key, int64_t at) {
  const bool none = !(key < Long::far());
  const int64_t squared = key >> finish.squared_shift;
  if (finish.type == Element::kF32 || finish.type == Element::kF64) {
    const double value = finish.squared ? double(squared) * (scale * scale) : __dsqrt_rn(double(squared)) * scale;
    store_constant(finish, none ? infinity_of<double>() : value, at);
  } else {
    store_whole(finish, none, squared, at);
  }
  for (int axis = 0; axis < finish.ndim; ++axis) {
    const int64_t coordinate = int64_t(uint64_t(key) >> finish.shift[axis] & ((uint64_t(1) << finish.bits[axis]) - 1));
    store_coordinate(finish, axis, none ? -1 : coordinate, at);
  }
}

// Where the last column pass does not do it: the squared distances of all units become results, one thread a voxel.
template <class A>
struct FinishArguments {
  Units units;
  Finish finish;
  const RowWord* planes;                    // [units][units.planes][rows][words]
  int64_t rows, width;
  int words;
  int64_t blocks_per_unit;
  const typename A::Value* squares[2];      // squared distances or keys of each side; [0] may be the output itself
  bool keys;
};

constexpr int kFinishThreads = 256;

template <class A>
FASTDIST_KERNEL FASTDIST_BOUNDS(kFinishThreads, 2) void finish(FinishArguments<A> a) {
  const int64_t unit = int64_t(blockIdx.x) / a.blocks_per_unit, block = int64_t(blockIdx.x) % a.blocks_per_unit;
  const Status status = status_of(a.units, unit);
  const Lengths& lengths = lengths_of(a.units, unit);
  const int64_t voxels = a.rows * a.width, plane = a.rows * a.words;
  const RowWord* words = a.planes + unit * a.units.planes * plane;
  for (int64_t v = block * blockDim.x + threadIdx.x; v < voxels; v += a.blocks_per_unit * blockDim.x) {
    const int64_t at = unit * voxels + v;
    bool inside = false, ignored = false;
    if (a.units.kind == Kind::kSigned) {
      const int64_t row = v / a.width, x = v % a.width;
      const RowWord* word = words + row * a.words + (x >> 5);
      inside = !(word->bits >> (x & 31) & 1);
      ignored = !inside && a.units.planes > 1 && word[plane].bits >> (x & 31) & 1;
    }
    if (ignored || status.constant || (inside && status.inside_constant)) {
      store_constant(a.finish, ignored ? 0.0 : status.value, at);
      for (int axis = 0; a.finish.indices && axis < a.finish.ndim; ++axis) store_coordinate(a.finish, axis, -1, at);
      continue;
    }
    const typename A::Value squared = a.squares[status.split && inside ? 1 : 0][at];
    if constexpr (sizeof(squared) == 8 && A::kWhole) {
      if (a.keys) {
        finish_key(a.finish, lengths.scale, squared, at);
        continue;
      }
    }
    if (a.units.kind == Kind::kSigned) {
      if (a.finish.type == Element::kF32) {
        float root;
        take_root(squared, &root);
        static_cast<float*>(a.finish.out)[at] = Signs<float>(lengths, a.finish.clip)(root, inside);
      } else {
        double root;
        take_root(squared, &root);
        static_cast<double*>(a.finish.out)[at] = Signs<double>(lengths, a.finish.clip)(root, inside);
      }
    } else if (a.finish.type == Element::kF32) {
      static_cast<float*>(a.finish.out)[at] = unsigned_value<A, float>(squared, a.finish.squared, lengths.scale);
    } else if (a.finish.type == Element::kF64) {
      static_cast<double*>(a.finish.out)[at] = unsigned_value<A, double>(squared, a.finish.squared, lengths.scale);
    } else {
      store_whole(a.finish, !(squared < A::far()), int64_t(squared), at);
    }
  }
}

}  // namespace fastdist::cuda
