// Nearest sources, axis by axis: which row of its line serves each voxel.
//
// The first axis is two sweeps over bits (sweep). A further one is the min-plus of served.h for tiles of 16 lines (site_pass);
// it leaves each voxel the row that served it. The source of a voxel is then found backwards: the last axis names a row; there
// the axis before it names one, and so on (site_finish).
#pragma once

#include "served.h"

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

// Vectors as the rows of a square, transposed by exchanges of their halves, quarters, ...
template <class T, int kStep>
FASTDIST_INLINE void exchange(Vec<T>* rows) {
  Vec<Mask<T>> low, high;
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    low[lane] = lane & kStep ? kLanes<T> + lane - kStep : lane;
    high[lane] = lane & kStep ? kLanes<T> + lane : lane + kStep;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i) {
    if (i & kStep) continue;
    const Vec<T> a = rows[i], b = rows[i + kStep];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + kStep] = __builtin_shuffle(a, b, high);
  }
  if constexpr (kStep > 1) exchange<T, kStep / 2>(rows);
}

// Columns of 16 x 16 elements become rows; rows of `from` and `to` lie a stride apart.
template <class T>
FASTDIST_INLINE void transpose(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int lanes = kLanes<T>;
  if constexpr (lanes > kTile) {
    for (int i = 0; i < kTile; ++i)
      for (int j = 0; j < kTile; ++j) to[j * to_stride + i] = from[i * from_stride + j];
  } else {
    for (int i = 0; i < kTile; i += lanes)
      for (int j = 0; j < kTile; j += lanes) {
        Vec<T> rows[lanes];
#pragma GCC unroll 16
        for (int k = 0; k < lanes; ++k) __builtin_memcpy(&rows[k], from + (i + k) * from_stride + j, sizeof(Vec<T>));
        exchange<T, lanes / 2>(rows);
#pragma GCC unroll 16
        for (int k = 0; k < lanes; ++k) __builtin_memcpy(to + (j + k) * to_stride + i, &rows[k], sizeof(Vec<T>));
      }
  }
}

// The rows of `count` columns from `first` on, [planes][64], become [planes / 16][columns][16 planes]. Behind the last plane
// stand copies of it: they cost no more than emptiness.
template <class Row>
FASTDIST_INLINE void interleave(const SitePass& pass, const Row* nearest, int64_t first, int64_t count) {
  Row* out = static_cast<Row*>(pass.rows) + first * kTile;
  for (int64_t z = 0; z < pass.length; z += kTile, out += pass.inner * kTile)
    for (int64_t x = 0; x < count; x += kTile) {
      if (z + kTile <= pass.length && x + kTile <= count) {
        transpose(nearest + z * 64 + x, 64, out + x * kTile, kTile);
        continue;
      }
      for (int64_t i = 0; i < kTile; ++i) {
        const int64_t plane = z + i < pass.length ? z + i : pass.length - 1;
        for (int64_t j = x; j < count && j < x + kTile; ++j) out[j * kTile + i] = nearest[plane * 64 + j];
      }
    }
}

// Words [first_word, last_word) of every plane. Memory: 64 rows (Row) for each plane.
template <class Row>
void sweep(const SitePass& pass, int64_t first_word, int64_t last_word, void* memory) {
  using V = Vec<Row>;
  constexpr int lanes = kLanes<Row>, most = 64 / lanes;
  V* before = static_cast<V*>(memory);
  for (int64_t w = first_word; w < last_word; ++w) {
    const int64_t columns = pass.inner - w * 64 < 64 ? pass.inner - w * 64 : 64;
    const int vectors = int((columns + lanes - 1) / lanes);
    const uint64_t* words = pass.set + w;
    V at[most];
    for (int v = 0; v < most; ++v) at[v] = splat<Row>(NoRow<Row>::kBefore);
    for (int64_t z = 0; z < pass.length; ++z) {
      const uint64_t word = words[z * pass.words];
      for (int v = 0; v < vectors; ++v) {
        at[v] = choose<Row>(word >> (v * lanes), at[v], splat<Row>(Row(z)));
        before[z * most + v] = at[v];
      }
    }
    for (int v = 0; v < most; ++v) at[v] = splat<Row>(NoRow<Row>::kBehind);
    Row* out = static_cast<Row*>(pass.rows) + w * 64;
    for (int64_t z = pass.length - 1; z >= 0; --z) {
      const uint64_t word = words[z * pass.words];
      const V here = splat<Row>(Row(z));
      for (int v = 0; v < vectors; ++v) {
        at[v] = choose<Row>(word >> (v * lanes), at[v], here);
        const V left = before[z * most + v];
        const V nearest = here - left <= at[v] - here ? left : at[v];
        if (pass.lanes == kTile) {
          before[z * most + v] = nearest;
          continue;
        }
        Row* to = out + z * pass.inner + v * lanes;
        const int64_t count = columns - v * lanes;
        if (count >= lanes) __builtin_memcpy(to, &nearest, sizeof(V));
        else for (int k = 0; k < count; ++k) to[k] = nearest[k];
      }
    }
    if (pass.lanes == kTile) interleave(pass, static_cast<const Row*>(memory), w * 64, columns);
  }
}

// The 16 lines of a tile.
struct Lines {
  int64_t begin[kTile];  // their first elements
  int count;             // that exist; the others are copies of the first
  int pieces, second;    // of memory that a row of the tile is, where these are 1 or 2; the line where the second one begins

  FASTDIST_INLINE Lines(const SitePass& pass, int64_t first) {
    count = pass.lines - first < kTile ? int(pass.lines - first) : kTile;
    int64_t outer = first / pass.inner, inner = first % pass.inner;
    second = int(pass.inner - inner < kTile ? pass.inner - inner : kTile);
    pieces = second == kTile ? 1 : second + pass.inner >= kTile ? 2 : kTile;
    if (count < kTile) pieces = kTile;
    for (int k = 0; k < count; ++k) {
      begin[k] = outer * pass.length * pass.inner + inner;
      if (++inner == pass.inner) inner = 0, ++outer;
    }
    for (int k = count; k < kTile; ++k) begin[k] = begin[0];
  }
};

// How sums begin: 16 of them, at elements `at` of the source, for the rows `number`.
//
// From the first axis: w d^2, d being the steps from the voxel's own row to the nearest one of that axis.
template <class Sum, class Row>
struct FromRows {
  using T = typename Sum::T;
  using Element = Row;
  const SitePass& pass;
  FASTDIST_INLINE void operator()(const Row* nearest, const Row* own, const int64_t* number, T* to) const {
    const T step = T(Sum::kKey ? 1.0 : pass.first_step), weight = T(pass.first_weight);
    for (int k = 0; k < kTile; ++k) {
      const Row apart = Row(own[k] - nearest[k]), d = Row(apart < 0 ? -apart : apart);
      const bool none = d >= NoRow<Row>::kNone;
      if constexpr (Sum::kKey) {
        const T squared = T(d) * T(d) * weight;  // in its place already
        to[k] = (none ? Sum::kNone : squared + Sum::kLeast) + T(number[k]);
      } else {
        const T length = T(d) * step;
        to[k] = none ? Sum::kNone : length * length;
      }
    }
  }
  FASTDIST_INLINE const Row* source() const { return static_cast<const Row*>(pass.first); }
};

// From the sums of the axis before: another row behind the distance.
template <class Sum>
struct FromSums {
  using T = typename Sum::T;
  using U = typename Sum::U;
  using Element = T;
  const SitePass& pass;
  template <class Row>
  FASTDIST_INLINE void operator()(const T* sums, const Row*, const int64_t* number, T* to) const {
    if constexpr (Sum::kKey) {
      const U squared = ~((U(1) << pass.bits) - 1);
      for (int k = 0; k < kTile; ++k) {
        const T without = __builtin_bit_cast(T, U(__builtin_bit_cast(U, sums[k]) & squared));
        const T least = without < Sum::kNone ? without : Sum::kNone;
        to[k] = __builtin_bit_cast(T, U(__builtin_bit_cast(U, least) | U(number[k])));
      }
    } else {
      for (int k = 0; k < kTile; ++k) to[k] = sums[k];
    }
  }
  FASTDIST_INLINE const T* source() const { return static_cast<const T*>(pass.values); }
};

// Every row of a tile at once costs a block of 16 x 16; these few at the end cost less one by one.
FASTDIST_INLINE int64_t whole_blocks(int64_t length) { return length % kTile < kTile / 2 ? length / kTile * kTile : length; }

template <class T, class Row, class Begin>
FASTDIST_INLINE void fill_lines(const SitePass& pass, const Lines& lines, const Begin& sums_at, T* tile) {
  using Element = typename Begin::Element;
  const Element* source = sums_at.source();
  Row own[kTile];
  for (int k = 0; k < kTile; ++k) own[k] = Row(pass.first_plane + lines.begin[k] / pass.plane % pass.planes);
  int64_t number[kTile], done = 0;
  if (pass.inner == 1 && pass.length >= kTile) {
    alignas(64) T block[kTile * kTile];
    const int64_t blocks_end = whole_blocks(pass.length);
    for (; done < blocks_end; done += kTile) {
      const int64_t y = done + kTile <= pass.length ? done : pass.length - kTile;  // the last one overlaps
      for (int k = 0; k < kTile; ++k) number[k] = y + k;
      for (int line = 0; line < kTile; ++line) {
        Row same[kTile];
        for (int k = 0; k < kTile; ++k) same[k] = own[line];
        sums_at(source + lines.begin[line] + y, same, number, block + line * kTile);
      }
      transpose(block, kTile, tile + y * kTile, kTile);
    }
  }
  for (int64_t y = done; y < pass.length; ++y) {
    for (int k = 0; k < kTile; ++k) number[k] = y;
    const Element* from = source + y * pass.inner;
    Element part[2 * kTile];
    if (lines.pieces == 1) {
      from += lines.begin[0];
    } else {
      if (lines.pieces == 2) {  // reads beyond the first piece what the second one replaces
        __builtin_memcpy(part, from + lines.begin[0], kTile * sizeof(Element));
        __builtin_memcpy(part + lines.second, from + lines.begin[lines.second], kTile * sizeof(Element));
      } else {
        for (int k = 0; k < kTile; ++k) part[k] = from[lines.begin[k]];
      }
      from = part;
    }
    sums_at(from, own, number, tile + y * kTile);
  }
}

// Where the results of a pass go: sums, and the rows that served. After the last axis keys hold these themselves.
template <class Sum, class Row>
struct Results {
  using T = typename Sum::T;
  using U = typename Sum::U;
  T* values;
  Row* rows;
  U row_bits;
  bool rows_apart;
  // 16 of them, to adjacent elements from `at` on.
  FASTDIST_INLINE void operator()(const T* sums, const int64_t* served, int64_t at) const {
    __builtin_memcpy(values + at, sums, kTile * sizeof(T));
    if (rows_apart)
      for (int k = 0; k < kTile; ++k) rows[at + k] = row_of(sums, served, k);
  }
  FASTDIST_INLINE void one(const T* sums, const int64_t* served, int k, int64_t at) const {
    values[at] = sums[k];
    if (rows_apart) rows[at] = row_of(sums, served, k);
  }
  FASTDIST_INLINE Row row_of(const T* sums, const int64_t* served, int k) const {
    if constexpr (Sum::kKey) return Row(__builtin_bit_cast(U, sums[k]) & row_bits);
    else return Row(served[k]);
  }
};

template <class Sum, class Row>
FASTDIST_INLINE void hand_out_lines(const SitePass& pass, const Lines& lines, const typename Sum::T* sums, const int64_t* served) {
  using T = typename Sum::T;
  using U = typename Sum::U;
  const Results<Sum, Row> results{static_cast<T*>(pass.values), static_cast<Row*>(pass.rows), (U(1) << pass.bits) - 1,
                                  !Sum::kKey || !pass.last};
  int64_t done = 0;
  if (pass.inner == 1 && pass.length >= kTile) {
    alignas(64) T block[kTile * kTile];
    alignas(64) int64_t rows[kTile * kTile];
    const int64_t blocks_end = whole_blocks(pass.length);
    for (; done < blocks_end; done += kTile) {
      const int64_t y = done + kTile <= pass.length ? done : pass.length - kTile;
      transpose(sums + y * kTile, kTile, block, kTile);
      if constexpr (!Sum::kKey) transpose(served + y * kTile, kTile, rows, kTile);
      for (int line = 0; line < lines.count; ++line) results(block + line * kTile, rows + line * kTile, lines.begin[line] + y);
    }
  }
  for (int64_t y = done; y < pass.length; ++y) {
    const int64_t at = y * kTile, to = y * pass.inner;
    if (lines.pieces == 1) results(sums + at, served + at, lines.begin[0] + to);
    else for (int k = 0; k < lines.count; ++k) results.one(sums + at, served + at, k, lines.begin[k] + to);
  }
}

// Tiles [first_tile, last_tile) of 16 lines. Memory: kSiteTiles tiles of padded rows and 8 bytes.
template <class Sum, class Row>
void site_pass(const SitePass& pass, int64_t first_tile, int64_t last_tile, void* memory) {
  using T = typename Sum::T;
  using U = typename Sum::U;
  const int64_t size = padded_rows(pass.length) * kTile;
  T* tile = static_cast<T*>(memory);
  T* sums = tile + size;
  int64_t* served = reinterpret_cast<int64_t*>(sums + size);
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const Lines lines(pass, t * kTile);
    if (pass.first) fill_lines<T, Row>(pass, lines, FromRows<Sum, Row>{pass}, tile);
    else fill_lines<T, Row>(pass, lines, FromSums<Sum>{pass}, tile);
    for (int64_t i = pass.length * kTile; i < size; ++i) tile[i] = kFar<T>;
    columns_served<Sum>(tile, pass.length, static_cast<const T*>(pass.cost), (U(1) << pass.bits) - 1, served + size, sums, served);
    if (!pass.separated) {
      hand_out_lines<Sum, Row>(pass, lines, sums, served);
      continue;
    }
    Lines apart = lines;  // the tile is one line of each of 16 planes
    for (int k = 0; k < kTile; ++k) apart.begin[k] = k * pass.voxels_of_plane + t * pass.length;
    SitePass to = pass;
    to.values = pass.separated;
    to.inner = 1;
    apart.pieces = kTile;
    hand_out_lines<Sum, Row>(to, apart, sums, served);
  }
}

// Some voxels of one plane of the last two axes become distances and coordinates.
//
// A voxel's element among the rows of a chunk is its number times `lanes` plus its lane: what a chunk of whole planes numbers are
// its voxels, one of 16 interleaved planes the voxels of a plane. What the last axis leaves is never interleaved.
template <class Sum, class Row>
class SitePart {
 public:
  using T = typename Sum::T;
  using U = typename Sum::U;

  // `values`, `rows`: of these voxels, side by side; `out`: where they are in the output.
  FASTDIST_INLINE SitePart(const SiteFinish& in, const NearestOutput& to, int64_t begin, int64_t count, int lane, int64_t out,
                           const T* values, const Row* rows)
      : in_(in), to_(to), begin_(begin), count_(count), lane_(lane), out_(out), values_(values), rows_(rows), last_(in.ndim - 1) {}

  FASTDIST_INLINE void run() const {
    switch (to_.distance_type) {
      case Element::kF64: distances<double>(); break;
      case Element::kF32: distances<float>(); break;
      case Element::kI32: distances<int32_t>(); break;
      default: distances<int64_t>(); break;
    }
    if (to_.wide) coordinates<int64_t, int64_t>();
    else if (in_.small) coordinates<int32_t, int32_t>();
    else coordinates<int32_t, int64_t>();
  }

 private:
  // Whole numbers stay below half their range, and signed ones convert faster.
  FASTDIST_INLINE static double real(uint32_t x) { return double(int32_t(x)); }
  FASTDIST_INLINE static double real(uint64_t x) { return double(int64_t(x)); }
  FASTDIST_INLINE static double real(double x) { return x; }
  FASTDIST_INLINE T squared_of(T value) const {
    if constexpr (!Sum::kKey) return value;
    else if constexpr (!__is_same(T, double)) return value >> in_.bits;
    else return (__builtin_bit_cast(T, __builtin_bit_cast(U, value) & ~((U(1) << in_.bits) - 1)) - Sum::kLeast) * in_.unshift;
  }

  // To the output, past the caches where that is asked for.
  template <class Out>
  FASTDIST_INLINE void put(const Out* from, Out* to) const {
    int64_t i = 0;
    if (in_.stream) {
      constexpr int lanes = kLanes<Out>;
      for (; i < count_ && reinterpret_cast<uintptr_t>(to + i) % sizeof(Vec<Out>); ++i) to[i] = from[i];
      for (; i + lanes <= count_; i += lanes) {
        Vec<Out> whole;
        __builtin_memcpy(&whole, from + i, sizeof(whole));
        stream(to + i, whole);
      }
    }
    for (; i < count_; ++i) to[i] = from[i];
  }

  template <class Out>
  FASTDIST_INLINE void distances() const {
    const T* values = values_;
    alignas(64) Out out[kSitePart];
    const double scale = to_.scale, factor = to_.scale * to_.scale;
    if constexpr (__is_same(Out, int32_t) || __is_same(Out, int64_t)) {
      for (int64_t i = 0; i < count_; ++i) out[i] = Out(squared_of(values[i]));
    } else if (to_.squared) {
      for (int64_t i = 0; i < count_; ++i) out[i] = Out(real(squared_of(values[i])) * factor);
    } else {
      for (int64_t i = 0; i < count_; ++i) out[i] = Out(__builtin_sqrt(real(squared_of(values[i]))) * scale);
    }
    put(out, static_cast<Out*>(to_.distances) + out_);
  }

  template <class Index, class Offset>
  FASTDIST_INLINE void coordinates() const {
    const int64_t width = in_.length[last_], height = in_.length[last_ - 1], plane = begin_ / (width * height) * (width * height);
    const Offset lanes = Offset(in_.lanes);
    alignas(64) Offset line[kSitePart];  // where the voxel's line begins
    for (int64_t i = 0; i < count_;) {
      const int64_t at = (begin_ + i) / width * width, left = at + width - (begin_ + i), end = left < count_ - i ? i + left : count_;
      for (; i < end; ++i) line[i] = Offset(at) * lanes + lane_;
    }
    alignas(64) Offset at[kSitePart];  // the source found so far, which shares the voxel's coordinates on the axes not asked yet
    alignas(64) Index out[kSitePart];
    if constexpr (Sum::kKey) {
      const U row_bits = (U(1) << in_.bits) - 1;
      for (int64_t i = 0; i < count_; ++i) out[i] = Index(__builtin_bit_cast(U, values_[i]) & row_bits);
    } else {
      for (int64_t i = 0; i < count_; ++i) out[i] = Index(rows_[i]);
    }
    for (int64_t i = 0; i < count_; ++i) at[i] = line[i] + Offset(out[i]) * lanes;
    put_coordinate(last_, out);
    if (last_ > 1) {
      look_up(last_ - 1, at, out);
      const Offset step = Offset(width) * lanes, begin = Offset(plane) * lanes + lane_;
      for (int64_t i = 0; i < count_; ++i) at[i] += Offset(out[i]) * step - (line[i] - begin);
      put_coordinate(last_ - 1, out);
    }
    int64_t outer = plane / (width * height);
    for (int a = last_ - 2; a > 0; --a) {
      const Offset step = Offset(in_.step[a]), back = Offset(outer % in_.length[a] * in_.step[a]);
      outer /= in_.length[a];
      look_up(a, at, out);
      for (int64_t i = 0; i < count_; ++i) at[i] += Offset(out[i]) * step - back;
      put_coordinate(a, out);
    }
    look_up(0, at, out);
    put_coordinate(0, out);
  }
  template <class Index, class Offset>
  FASTDIST_INLINE void look_up(int axis, const Offset* at, Index* out) const {
    const Row* rows = static_cast<const Row*>(in_.rows[axis]);
#pragma GCC unroll 8
    for (int64_t i = 0; i < count_; ++i) out[i] = Index(rows[at[i]]);
  }
  template <class Index>
  FASTDIST_INLINE void put_coordinate(int axis, const Index* out) const {
    if (in_.axis[axis] >= 0) put(out, static_cast<Index*>(to_.indices) + in_.axis[axis] * to_.axis_stride + out_);
  }

  const SiteFinish& in_;
  const NearestOutput& to_;
  const int64_t begin_, count_;
  const int lane_;
  const int64_t out_;
  const T* values_;
  const Row* rows_;
  const int last_;
};

// Parts [first_part, last_part) of a chunk's voxels; of each plane of the last two axes kSitePart at a time.
template <class Sum, class Row>
void site_finish(const SiteFinish& in, int64_t first_part, int64_t last_part) {
  using T = typename Sum::T;
  const NearestOutput to = *in.out;  // a copy: the compiler cannot know that the outputs do not overlap it
  const T* values = static_cast<const T*>(in.values);
  const Row* rows = static_cast<const Row*>(in.rows[in.ndim - 1]);
  const int64_t plane = in.voxels_of_part, parts = (plane + kSitePart - 1) / kSitePart;
  const int64_t parts_of_lane = in.lanes == 1 ? last_part : in.plane / plane * parts;
  for (int64_t part = first_part; part < last_part; ++part) {
    const int64_t lane = part / parts_of_lane, of_lane = part % parts_of_lane;
    const int64_t begin = of_lane / parts * plane + of_lane % parts * kSitePart, end = (of_lane / parts + 1) * plane;
    const int64_t count = end - begin < kSitePart ? end - begin : kSitePart, at = lane * in.plane + begin;
    SitePart<Sum, Row>(in, to, begin, count, int(lane), in.first_voxel + at, values + at, rows + at).run();
  }
  end_of_stream();
}

}  // namespace fastdist::FASTDIST_LEVEL
