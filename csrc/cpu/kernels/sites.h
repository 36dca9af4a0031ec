// Nearest sources, axis by axis: which row of its line serves each voxel.
//
// The first axis is two sweeps over bits (sweep). A further one is the min-plus of columns.h for tiles of 16 lines, among sums
// that know their row (site_pass); it leaves each voxel the row that served it. The source of a voxel is then found backwards:
// the last axis names a row; there the one before it names one, and so on (site_finish).
//
// Sums that know their row:
//   Key<T>  squared distance << bits | row: whole numbers, exact. The smaller row wins among equal distances.
//           In a double, whose minimum and sum are one instruction each on every level, they stand behind 2^52: its low bits
//           are then the number's, and it may have 51 of them.
//   Pair    a double and, beside it, the row that it came from; of equal distances any wins.
#pragma once

#include "columns.h"

namespace fastdist::FASTDIST_LEVEL {

// Rows of the first axis outside of any: "no source before" and "none behind". Both are kNone steps or more from any row.
template <class Row> struct NoRow;
template <> struct NoRow<int16_t> { static constexpr int16_t kBefore = -(1 << 14), kBehind = 32767, kNone = 1 << 14; };
template <> struct NoRow<int32_t> { static constexpr int32_t kBefore = -(1 << 30), kBehind = 2147483647, kNone = 1 << 30; };
template <> struct NoRow<int64_t> {
  static constexpr int64_t kBefore = -(int64_t(1) << 60), kBehind = int64_t(1) << 61, kNone = int64_t(1) << 60;
};

// a where the lane's bit is set, else b. `bits` holds at least a vector's lanes.
template <class Row>
FASTDIST_INLINE Vec<Row> choose(uint64_t bits, Vec<Row> a, Vec<Row> b) {
#if defined(__AVX512BW__)
  if constexpr (sizeof(Row) == 2) return (Vec<Row>)_mm512_mask_blend_epi16(__mmask32(bits), (__m512i)b, (__m512i)a);
#endif
  return lanes_of<Row>(bits) ? a : b;
}

// Words [first_word, last_word) of every plane.
template <class Row>
void sweep(const SitePass& pass, int64_t first_word, int64_t last_word, void* memory) {
  using V = Vec<Row>;
  constexpr int lanes = kLanes<Row>, most = 64 / lanes;
  constexpr Row none_before = NoRow<Row>::kBefore, none_behind = NoRow<Row>::kBehind;
  V* before = static_cast<V*>(memory);
  for (int64_t w = first_word; w < last_word; ++w) {
    const int64_t columns = pass.inner - w * 64 < 64 ? pass.inner - w * 64 : 64;
    const int vectors = int((columns + lanes - 1) / lanes);
    const uint64_t* words = pass.set + w;
    V at[most];
    for (int v = 0; v < most; ++v) at[v] = splat<Row>(none_before);
    for (int64_t z = 0; z < pass.length; ++z) {
      const uint64_t word = words[z * pass.words];
      for (int v = 0; v < vectors; ++v) {
        at[v] = choose<Row>(word >> (v * lanes), at[v], splat<Row>(Row(z)));
        before[z * most + v] = at[v];
      }
    }
    for (int v = 0; v < most; ++v) at[v] = splat<Row>(none_behind);
    Row* out = static_cast<Row*>(pass.rows) + w * 64;
    for (int64_t z = pass.length - 1; z >= 0; --z) {
      const uint64_t word = words[z * pass.words];
      const V here = splat<Row>(Row(z));
      for (int v = 0; v < vectors; ++v) {
        at[v] = choose<Row>(word >> (v * lanes), at[v], here);
        const V left = before[z * most + v];
        const V nearest = here - left <= at[v] - here ? left : at[v];
        Row* to = out + z * pass.inner + v * lanes;
        const int64_t count = columns - v * lanes;
        if (count >= lanes) __builtin_memcpy(to, &nearest, sizeof(V));
        else for (int k = 0; k < count; ++k) to[k] = nearest[k];
      }
    }
  }
}

struct Pair;

template <class Sum>
struct SumOf {
  using T = Sum;
  static constexpr bool kKey = true;
};
template <>
struct SumOf<Pair> {
  using T = double;
  static constexpr bool kKey = false;
};

// What a key is without a source, and with the least one: row 0 at distance 0.
template <class T> constexpr T kFarKey = kFar<T>;
template <> inline constexpr double kFarKey<double> = 0x1.8p52;
template <class T> constexpr T kNoKey = T(0);
template <> inline constexpr double kNoKey<double> = 0x1p52;

template <class T> struct BitsOf { using type = T; };
template <> struct BitsOf<double> { using type = uint64_t; };

// Where the 16 lines of a tile begin.
struct Lines {
  int64_t begin[kTile];
  int count;
  bool adjacent;  // their elements lie side by side

  FASTDIST_INLINE Lines(const SitePass& pass, int64_t first) {
    const int64_t left = pass.lines - first;
    count = left < kTile ? int(left) : kTile;
    int64_t outer = first / pass.inner, inner = first % pass.inner;
    adjacent = count == kTile && inner + kTile <= pass.inner;
    for (int k = 0; k < count; ++k) {
      begin[k] = outer * pass.length * pass.inner + inner;
      if (++inner == pass.inner) inner = 0, ++outer;
    }
    for (int k = count; k < kTile; ++k) begin[k] = begin[0];  // copies of the first: they cost no more than emptiness
  }
};

// The lines as [rows][kTile].
template <class E>
FASTDIST_INLINE void collect(const E* from, const Lines& lines, int64_t inner, int64_t length, E* to) {
  if (lines.adjacent) {
    from += lines.begin[0];
    for (int64_t y = 0; y < length; ++y) __builtin_memcpy(to + y * kTile, from + y * inner, kTile * sizeof(E));
    return;
  }
  for (int64_t first = 0; first < length; first += kTile) {
    const int64_t rows = length - first < kTile ? length - first : kTile;
    for (int k = 0; k < kTile; ++k) {
      const E* line = from + lines.begin[k] + first * inner;
      for (int64_t y = 0; y < rows; ++y) to[(first + y) * kTile + k] = line[y * inner];
    }
  }
}

template <class E>
FASTDIST_INLINE void distribute(const E* from, const Lines& lines, int64_t inner, int64_t length, E* to) {
  if (lines.adjacent) {
    to += lines.begin[0];
    for (int64_t y = 0; y < length; ++y) __builtin_memcpy(to + y * inner, from + y * kTile, kTile * sizeof(E));
    return;
  }
  for (int64_t first = 0; first < length; first += kTile) {
    const int64_t rows = length - first < kTile ? length - first : kTile;
    for (int k = 0; k < lines.count; ++k) {
      E* line = to + lines.begin[k] + first * inner;
      for (int64_t y = 0; y < rows; ++y) line[y * inner] = from[(first + y) * kTile + k];
    }
  }
}

// Sums from the first axis: w d^2, d being the steps to the nearest row of it.
template <class Sum, class Row>
FASTDIST_INLINE void sums_from_rows(const SitePass& pass, const Lines& lines, const Row* nearest, typename SumOf<Sum>::T* tile) {
  using T = typename SumOf<Sum>::T;
  Row own[kTile];
  for (int k = 0; k < kTile; ++k) own[k] = Row(pass.first_plane + lines.begin[k] / pass.plane);
  for (int64_t y = 0; y < pass.length; ++y, nearest += kTile, tile += kTile)
    for (int k = 0; k < kTile; ++k) {
      const auto apart = own[k] - nearest[k];
      const auto d = apart < 0 ? -apart : apart;
      const bool none = d >= NoRow<Row>::kNone;
      if constexpr (!SumOf<Sum>::kKey) {
        const T length = T(d) * T(pass.first_step);
        tile[k] = none ? kFar<T> : length * length;
      } else if constexpr (__is_same(T, double)) {
        const T squared = T(d) * T(d) * pass.first_weight;  // shifted already
        tile[k] = (none ? kFarKey<T> : squared + kNoKey<T>) + T(y);
      } else {
        const T squared = T(d) * T(d) * T(pass.first_weight);
        tile[k] = (none ? kFarKey<T> : squared) + T(y);
      }
    }
}

// Keys of the pass before become keys of this one: another row behind the distance.
template <class T>
FASTDIST_INLINE void renumber(int64_t length, int bits, T* tile) {
  using U = typename BitsOf<T>::type;
  const Vec<U> squared = splat<U>(~((U(1) << bits) - 1));
  for (int64_t y = 0; y < length; ++y)
    for (int v = 0; v < kVectorsPerTile<T>; ++v) {
      Vec<T>* key = reinterpret_cast<Vec<T>*>(tile) + y * kVectorsPerTile<T> + v;
      const Vec<T> without = (Vec<T>)((Vec<U>)*key & squared);
      *key = (Vec<T>)((Vec<U>)minimum(without, splat<T>(kFarKey<T>)) | splat<U>(U(y)));
    }
}

// The min-plus of a tile: sums, and the rows that served where sums do not know them. Once for every type of row.
template <class Sum>
__attribute__((noinline)) void site_columns(const typename SumOf<Sum>::T* tile, int64_t length, const typename SumOf<Sum>::T* cost,
                                            typename SumOf<Sum>::T* scratch, typename SumOf<Sum>::T zero,
                                            typename SumOf<Sum>::T* sums, int64_t* served) {
  using T = typename SumOf<Sum>::T;
  constexpr int64_t stride = kVectorsPerTile<T>;
  const auto keep = [&]<class V>(auto* to, int64_t row, int vector, const V* vectors) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) reinterpret_cast<V*>(to)[(row + k) * stride + vector] = vectors[k];
  };
  if constexpr (SumOf<Sum>::kKey) {
    columns<T>(tile, nullptr, length, cost, scratch, [&](int64_t row, int vector, const Vec<T>* best, bool) {
      keep(sums, row, vector, best);
    }, zero);
  } else {
    columns<T, true>(tile, nullptr, length, cost, scratch,
                     [&](int64_t row, int vector, const Vec<T>* best, const Vec<int64_t>* rows) {
                       keep(sums, row, vector, best);
                       keep(served, row, vector, rows);
                     }, zero);
  }
}

// Tiles [first_tile, last_tile) of 16 lines. Memory: kSiteTiles tiles of padded rows and 8 bytes.
template <class Sum, class Row>
void site_pass(const SitePass& pass, int64_t first_tile, int64_t last_tile, void* memory) {
  using T = typename SumOf<Sum>::T;
  using U = typename BitsOf<T>::type;
  const int64_t size = padded_rows(pass.length) * kTile, used = pass.length * kTile;
  T* tile = static_cast<T*>(memory);
  T* sums = tile + size;
  T* scratch = sums + size;
  int64_t* served = reinterpret_cast<int64_t*>(scratch + size);
  Row* rows = reinterpret_cast<Row*>(served + size);
  T* values = static_cast<T*>(pass.values);
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const Lines lines(pass, t * kTile);
    if (pass.first) {
      collect(static_cast<const Row*>(pass.first), lines, pass.inner, pass.length, rows);
      sums_from_rows<Sum, Row>(pass, lines, rows, tile);
    } else {
      collect(values, lines, pass.inner, pass.length, tile);
      if constexpr (SumOf<Sum>::kKey) renumber(pass.length, pass.bits, tile);
    }
    for (int64_t i = used; i < size; ++i) tile[i] = kFar<T>;
    const T* cost = static_cast<const T*>(pass.cost);
    if constexpr (SumOf<Sum>::kKey) {
      const T at_zero = kNoKey<T> + T((U(1) << pass.bits) - 1);
      site_columns<Sum>(tile, pass.length, cost, scratch, at_zero, sums, served);
      const U row_bits = (U(1) << pass.bits) - 1;
      for (int64_t i = 0; i < used; ++i) rows[i] = Row(__builtin_bit_cast(U, sums[i]) & row_bits);
      if (pass.last)
        for (int64_t i = 0; i < used; ++i) {
          const U squared = __builtin_bit_cast(U, sums[i]) & ~row_bits;
          if constexpr (__is_same(T, double)) sums[i] = (__builtin_bit_cast(T, squared) - kNoKey<T>) * pass.unshift;
          else sums[i] = squared >> pass.bits;
        }
    } else {
      site_columns<Sum>(tile, pass.length, cost, scratch, T(0), sums, served);
      for (int64_t i = 0; i < used; ++i) rows[i] = Row(served[i]);
    }
    distribute(sums, lines, pass.inner, pass.length, values);
    distribute(rows, lines, pass.inner, pass.length, static_cast<Row*>(pass.rows));
  }
}

// Whole numbers stay below half their range, and signed ones convert faster.
FASTDIST_INLINE double real(uint32_t x) { return double(int32_t(x)); }
FASTDIST_INLINE double real(uint64_t x) { return double(int64_t(x)); }
FASTDIST_INLINE double real(double x) { return x; }

template <class T, class Out>
FASTDIST_INLINE void distances_of(const T* squared, int64_t count, const NearestOutput& to, int64_t at) {
  Out* out = static_cast<Out*>(to.distances) + at;
  const double scale = to.scale, factor = to.scale * to.scale;
  if constexpr (__is_same(Out, int32_t) || __is_same(Out, int64_t)) {
    for (int64_t i = 0; i < count; ++i) out[i] = Out(squared[i]);
  } else if (to.squared) {
    for (int64_t i = 0; i < count; ++i) out[i] = Out(real(squared[i]) * factor);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = Out(__builtin_sqrt(real(squared[i])) * scale);
  }
}

template <class Row, class Index>
FASTDIST_INLINE void indices_of(const SiteFinish& in, int64_t row, const NearestOutput& to) {
  constexpr int64_t kPart = 512;
  int64_t at[kPart];  // of the chunk: the source found so far, which shares the target's coordinates on the axes not yet asked
  int64_t own[kMostAxes], rest = row;
  for (int a = in.ndim - 2; a > 0; --a) {
    own[a] = rest % in.length[a];
    rest /= in.length[a];
  }
  const int last = in.ndim - 1;
  const int64_t width = in.length[last], line = row * width;
  for (int64_t begin = 0; begin < width; begin += kPart) {
    const int64_t count = width - begin < kPart ? width - begin : kPart, out_at = in.first_voxel + line + begin;
    const Row* rows = static_cast<const Row*>(in.rows[last]) + line + begin;
    for (int64_t i = 0; i < count; ++i) at[i] = line + rows[i];
    if (in.axis[last] >= 0) {
      Index* out = static_cast<Index*>(to.indices) + in.axis[last] * to.axis_stride + out_at;
      for (int64_t i = 0; i < count; ++i) out[i] = Index(rows[i]);
    }
    for (int a = last - 1; a > 0; --a) {
      rows = static_cast<const Row*>(in.rows[a]);
      Index* out = static_cast<Index*>(to.indices) + in.axis[a] * to.axis_stride + out_at;
      const int64_t step = in.step[a], back = own[a] * step;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t coordinate = rows[at[i]];
        out[i] = Index(coordinate);
        at[i] += coordinate * step - back;
      }
    }
    if (in.axis[0] < 0) continue;
    rows = static_cast<const Row*>(in.rows[0]);
    Index* out = static_cast<Index*>(to.indices) + in.axis[0] * to.axis_stride + out_at;
    for (int64_t i = 0; i < count; ++i) out[i] = Index(rows[at[i]]);
  }
}

// Rows [first_row, last_row) of the last axis become distances and coordinates.
template <class Sum, class Row>
void site_finish(const SiteFinish& in, int64_t first_row, int64_t last_row) {
  using T = typename SumOf<Sum>::T;
  const NearestOutput to = *in.out;
  const int64_t width = in.length[in.ndim - 1];
  const T* values = static_cast<const T*>(in.values);
  for (int64_t row = first_row; row < last_row; ++row) {
    const T* squared = values + row * width;
    const int64_t at = in.first_voxel + row * width;
    switch (to.distance_type) {
      case Element::kF64: distances_of<T, double>(squared, width, to, at); break;
      case Element::kF32: distances_of<T, float>(squared, width, to, at); break;
      case Element::kI32: distances_of<T, int32_t>(squared, width, to, at); break;
      default: distances_of<T, int64_t>(squared, width, to, at); break;
    }
    if (to.wide) indices_of<Row, int64_t>(in, row, to);
    else indices_of<Row, int32_t>(in, row, to);
  }
}

}  // namespace fastdist::FASTDIST_LEVEL
