// What happens to the eight rows of squared distances that `columns` hands out: stored, or mapped to values.
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
  FASTDIST_INLINE void operator()(int64_t row, int vector, const Vec<T>* best, bool) const {
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

// Square roots of one part of a vector: kLanes<Out> lanes of T, the first at `part * kLanes<Out>`.
template <class Out, class T>
FASTDIST_INLINE Vec<Out> root_of_part(const T* squared, bool below_2_24) {
  using Signed = typename IntegerOf<sizeof(T)>::type;  // squares stay below half the range: signed converts faster
  constexpr int lanes = kLanes<Out>;
  Vec<Out> root;
  if constexpr (__is_same(T, Out)) {
    __builtin_memcpy(&root, squared, sizeof(root));
    return square_root(root);
  } else if constexpr (__is_same(Out, float)) {
    if (sizeof(T) == 4 && below_2_24) {
      for (int lane = 0; lane < lanes; ++lane) root[lane] = float(Signed(squared[lane]));
      return square_root(root);
    }
    for (int lane = 0; lane < lanes; ++lane)  // correctly rounded: a double root has more than twice a float's digits
      root[lane] = float(__builtin_sqrt(__is_same(T, double) ? double(squared[lane]) : double(Signed(squared[lane]))));
    return root;
  } else {
    for (int lane = 0; lane < lanes; ++lane) root[lane] = double(Signed(squared[lane]));
    return square_root(root);
  }
}

template <class T, class Out>
struct Map {
  Out* out;
  TilePlace place;
  const Epilogue* epilogue;
  bool stream_out;
  FASTDIST_INLINE void operator()(int64_t row, int vector, const Vec<T>* best, bool all_zero) const {
    // Tiles are read and written in parts of one vector of the wider of the two types.
    constexpr int most = kLanes<T>, lanes = kLanes<Out> < most ? kLanes<Out> : most;
    if (place.lanes(vector * most, most) == 0) return;
    const int rows = place.rows - row < kBlock ? int(place.rows - row) : kBlock;
    const Epilogue e = *epilogue;  // a copy: the compiler cannot know that `out` does not overlap it
    const Numbers numbers{splat<Out>(Out(e.scale)), splat<Out>(Out(e.inside_shift)), splat<Out>(Out(e.outside_shift)),
                          splat<Out>(Out(e.clip))};
    for (int begin = 0; begin < most; begin += lanes) {
      const int column = vector * most + begin, count = place.lanes(column, lanes), bit = int(place.x & 63) + column;
      Out* to = out + place.out_begin + row * place.out_stride + column;
      const bool whole = count == kLanes<Out> && !e.keep;
      const bool streamed = stream_out && whole && 
                            (reinterpret_cast<uintptr_t>(to) | place.out_stride * sizeof(Out)) % sizeof(V) == 0;
      int64_t word = place.bit_begin + row * place.bit_stride;
      for (int k = 0; k < rows; ++k, to += place.out_stride, word += place.bit_stride) {
        alignas(64) T squared[most < kLanes<Out> ? kLanes<Out> : most] = {};
        *reinterpret_cast<Vec<T>*>(squared) = best[k];
        V value{};
        if (!all_zero) value = root_of_part<Out>(squared + begin, e.below_2_24) * numbers.scale;
        if (e.inside) {
          const V inside = numbers.inside_shift - value, outside = value - numbers.outside_shift;
          value = lanes_of<Out>(e.inside[word] >> bit) ? inside : outside;
          value = maximum(minimum(value, numbers.clip), -numbers.clip);
        }
        if (streamed) {
          stream(to, value);
        } else if (whole) {
          __builtin_memcpy(to, &value, sizeof(V));
        } else {
          const uint64_t keep = e.keep ? e.keep[word] >> bit : 0;
          for (int lane = 0; lane < count; ++lane)
            if (!(keep >> lane & 1)) to[lane] = value[lane];
        }
      }
    }
  }

 private:
  using V = Vec<Out>;
  struct Numbers {
    V scale, inside_shift, outside_shift, clip;
  };
};

}  // namespace fastdist::FASTDIST_LEVEL
