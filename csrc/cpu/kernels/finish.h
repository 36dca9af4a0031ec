// What happens to the eight rows of squared distances that `columns` hands out: stored, mapped to values, or unpacked.
#pragma once

#include "tile.h"

namespace fastdist::FASTDIST_LEVEL {

// Where the tile's rows lie in the output and in the bit planes.
struct TilePlace {
  int64_t x, width;       // first column of the tile, columns of the image
  int64_t rows;           // rows that exist; `columns` also hands out padding
  int64_t out_stride;     // elements between rows
  int64_t out_begin;      // element of row 0, column x
  int64_t bit_stride;     // words between rows
  int64_t bit_begin;      // word of row 0, column x
  FASTDIST_INLINE int lanes(int64_t begin, int most) const {
    int64_t left = width - x - begin;
    return left >= most ? most : left > 0 ? int(left) : 0;
  }
};

template <class T>
struct Store {
  T* out;
  TilePlace place;
  FASTDIST_INLINE void operator()(int64_t row, int vector, const Vec<T>* best) const {
    constexpr int lanes = kLanes<T>;
    const int count = place.lanes(vector * lanes, lanes);
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) {
      if (row + k >= place.rows) return;
      T* to = out + place.out_begin + (row + k) * place.out_stride + vector * lanes;
      if (count == lanes) {
        __builtin_memcpy(to, &best[k], sizeof(Vec<T>));
      } else {
        alignas(64) T values[lanes];
        *reinterpret_cast<Vec<T>*>(values) = best[k];
        for (int lane = 0; lane < count; ++lane) to[lane] = values[lane];
      }
    }
  }
};

template <class Out, class T>
FASTDIST_INLINE void roots(const T* squared, bool below_2_24, Out* distances) {
  constexpr int lanes = kLanes<T>;
  using Signed = typename IntegerOf<sizeof(T)>::type;
  if constexpr (__is_same(T, Out)) {
    for (int lane = 0; lane < lanes; ++lane)
      distances[lane] = sizeof(Out) == 4 ? __builtin_sqrtf(squared[lane]) : __builtin_sqrt(squared[lane]);
  } else if constexpr (__is_same(Out, float) && sizeof(T) == 4) {
    if (below_2_24) {
      for (int lane = 0; lane < lanes; ++lane) distances[lane] = __builtin_sqrtf(float(Signed(squared[lane])));
      return;
    }
    for (int lane = 0; lane < lanes; ++lane) distances[lane] = float(__builtin_sqrt(double(Signed(squared[lane]))));
  } else if constexpr (__is_same(T, double)) {
    for (int lane = 0; lane < lanes; ++lane) distances[lane] = Out(__builtin_sqrt(squared[lane]));
  } else {
    for (int lane = 0; lane < lanes; ++lane) distances[lane] = Out(__builtin_sqrt(double(Signed(squared[lane]))));
  }
}

template <class T, class Out>
struct Map {
  Out* out;
  TilePlace place;
  const Epilogue* epilogue;
  FASTDIST_INLINE void operator()(int64_t row, int vector, const Vec<T>* best) const {
    constexpr int lanes = kLanes<T>;
    const int count = place.lanes(vector * lanes, lanes);
    if (count == 0) return;
    const Out scale = Out(epilogue->scale), clip = Out(epilogue->clip);
    const Out inside_shift = Out(epilogue->inside_shift), outside_shift = Out(epilogue->outside_shift);
    const int bit = int((place.x & 63) + vector * lanes);
    for (int k = 0; k < kBlock; ++k) {
      if (row + k >= place.rows) return;
      Out* to = out + place.out_begin + (row + k) * place.out_stride + vector * lanes;
      const int64_t word = place.bit_begin + (row + k) * place.bit_stride;
      alignas(64) T squared[lanes];
      alignas(64) Out value[lanes];
      *reinterpret_cast<Vec<T>*>(squared) = best[k];
      roots<Out, T>(squared, epilogue->below_2_24, value);
      for (int lane = 0; lane < lanes; ++lane) value[lane] *= scale;
      if (epilogue->inside) {
        const uint32_t inside = uint32_t(epilogue->inside[word] >> bit);
        for (int lane = 0; lane < lanes; ++lane)
          value[lane] = inside >> lane & 1 ? inside_shift - value[lane] : value[lane] - outside_shift;
        for (int lane = 0; lane < lanes; ++lane) {
          value[lane] = value[lane] > clip ? clip : value[lane];
          value[lane] = value[lane] < -clip ? -clip : value[lane];
        }
      }
      if (count < lanes || epilogue->keep) {
        const uint32_t keep = epilogue->keep ? uint32_t(epilogue->keep[word] >> bit) : 0;
        for (int lane = 0; lane < count; ++lane) to[lane] = keep >> lane & 1 ? to[lane] : value[lane];
      } else {
        __builtin_memcpy(to, value, sizeof(value));
      }
    }
  }
};

// Keys into distances and coordinates. Streams: nothing here is reused.
struct Unpack {
  const NearestOutput* nearest;
  TilePlace place;
  FASTDIST_INLINE void operator()(int64_t row, int vector, const Vec<uint64_t>* best) const {
    constexpr int lanes = kLanes<uint64_t>;
    const int count = place.lanes(vector * lanes, lanes);
    if (count == 0) return;
    for (int k = 0; k < kBlock; ++k) {
      if (row + k >= place.rows) return;
      const int64_t to = place.out_begin + (row + k) * place.out_stride + vector * lanes;
      alignas(64) uint64_t key[lanes];
      *reinterpret_cast<Vec<uint64_t>*>(key) = best[k];
      if (nearest->distances) distances(key, to, count);
      for (int a = 0; a < int(nearest->ndim); ++a) {
        const uint64_t mask = (uint64_t(1) << nearest->bits[a]) - 1;
        const int shift = nearest->shift[a];
        if (nearest->wide) {
          int64_t* at = static_cast<int64_t*>(nearest->indices) + a * nearest->axis_stride + to;
          for (int lane = 0; lane < count; ++lane) at[lane] = int64_t(key[lane] >> shift & mask);
        } else {
          int32_t* at = static_cast<int32_t*>(nearest->indices) + a * nearest->axis_stride + to;
          for (int lane = 0; lane < count; ++lane) at[lane] = int32_t(key[lane] >> shift & mask);
        }
      }
    }
  }
  FASTDIST_INLINE void distances(const uint64_t* key, int64_t to, int count) const {
    for (int lane = 0; lane < count; ++lane) {
      const int64_t squared = int64_t(key[lane] >> nearest->squared_shift);
      const double value = nearest->squared ? double(squared) * nearest->scale * nearest->scale
                                            : __builtin_sqrt(double(squared)) * nearest->scale;
      switch (nearest->distance_type) {
        case Element::kF64: static_cast<double*>(nearest->distances)[to + lane] = value; break;
        case Element::kF32: static_cast<float*>(nearest->distances)[to + lane] = float(value); break;
        case Element::kI32: static_cast<int32_t*>(nearest->distances)[to + lane] = int32_t(squared); break;
        default: static_cast<int64_t*>(nearest->distances)[to + lane] = squared; break;
      }
    }
  }
};

}  // namespace fastdist::FASTDIST_LEVEL
