// One column pass that knows its sources: best(y) = min over i of f(i) + w (y - i)^2, and the row i that served.
//
// Eight target rows stay in registers, as in columns.h. Which rows can serve is known better here: the row that serves never
// decreases along a column, so blocks of targets are taken at stride n / 2, n / 4, ..., 1, and each looks only between the
// rows that served its two neighbours: some nine rows for half of the blocks. Where that is more, blocks of sources are
// visited outward and skipped when no lane can gain; in long columns a group at a time, for lanes that have nothing in common.
//
// Sums that know their row:
//   Keys<T>  squared distance << bits | row: whole numbers, exact. The smaller row wins among equal distances.
//            In a double, whose minimum and sum are one instruction each on every level, they stand behind 2^52: its low bits
//            are then the number's, and it may have 51 of them.
//   Pairs    a double and, beside it, the row that it came from; of equal distances any wins.
#pragma once

#include "columns.h"

namespace fastdist::FASTDIST_LEVEL {

template <class T> struct BitsOf { using type = T; };
template <> struct BitsOf<double> { using type = uint64_t; };

// What a key is without a source, and with the least one: row 0 at distance 0.
template <class Number>
struct Keys {
  using T = Number;
  using U = typename BitsOf<T>::type;
  static constexpr bool kKey = true;
  static constexpr T kNone = __is_same(T, double) ? T(0x1.8p52) : kFar<T>;
  static constexpr T kLeast = __is_same(T, double) ? T(0x1p52) : T(0);
};
struct Pairs {
  using T = double;
  using U = uint64_t;
  static constexpr bool kKey = false;
  static constexpr T kNone = kFar<double>;
  static constexpr T kLeast = 0;
};

// Eight targets, and the rows that served them so far.
template <class Sum>
struct Targets {
  Vec<typename Sum::T> best[kBlock];
  FASTDIST_INLINE void clear() {
    for (int k = 0; k < kBlock; ++k) best[k] = splat<typename Sum::T>(Sum::kNone);
  }
};
template <>
struct Targets<Pairs> {
  Vec<double> best[kBlock];
  Vec<int64_t> row[kBlock];
  FASTDIST_INLINE void clear() {
    for (int k = 0; k < kBlock; ++k) best[k] = splat<double>(Pairs::kNone), row[k] = Vec<int64_t>{};
  }
};

// By the source rows [begin, end). `cost` is that of `begin` to the first target; costs of rows behind lie before it.
// The first kCount targets alone, 8 or 4.
template <class Sum, int kCount>
FASTDIST_INLINE void relax_by(Targets<Sum>& targets, const Vec<typename Sum::T>* source, int64_t stride, int64_t begin, int64_t end,
                              const typename Sum::T* cost) {
  using V = Vec<typename Sum::T>;
  if constexpr (Sum::kKey) {
    for (int64_t i = begin; i < end; ++i, --cost) {
      const V value = source[i * stride];
#pragma GCC unroll 8
      for (int k = 0; k < kCount; ++k) targets.best[k] = minimum(targets.best[k], value + cost[k]);
    }
  } else {
    constexpr int kHalf = kBlock / 2;  // four targets at a time, for want of registers
#pragma GCC unroll 2
    for (int half = 0; half < kCount; half += kHalf) {
      V least[kHalf];
      Vec<int64_t> from[kHalf];
#pragma GCC unroll 4
      for (int k = 0; k < kHalf; ++k) least[k] = targets.best[half + k], from[k] = targets.row[half + k];
      const double* apart = cost + half;
      for (int64_t i = begin; i < end; ++i, --apart) {
        const V value = source[i * stride];
        const Vec<int64_t> here = splat<int64_t>(i);
#pragma GCC unroll 4
        for (int k = 0; k < kHalf; ++k) {
          const V sum = value + apart[k];
          from[k] = sum < least[k] ? here : from[k];
          least[k] = minimum(least[k], sum);
        }
      }
#pragma GCC unroll 4
      for (int k = 0; k < kHalf; ++k) targets.best[half + k] = least[k], targets.row[half + k] = from[k];
    }
  }
}

// The lowest row that serves the last of the targets, and the highest one that serves the first: what bounds the neighbours.
struct Served {
  int64_t lowest, highest;
};
template <class Sum>
FASTDIST_INLINE Served served_by(const Targets<Sum>& targets, typename Sum::U row_bits) {
  using T = typename Sum::T;
  using U = typename Sum::U;
  Vec<U> first, last;
  if constexpr (Sum::kKey) {
    first = (Vec<U>)targets.best[0] & row_bits;
    last = (Vec<U>)targets.best[kBlock - 1] & row_bits;
  } else {
    first = (Vec<U>)targets.row[0];
    last = (Vec<U>)targets.row[kBlock - 1];
  }
  const Vec<T> none = splat<T>(Sum::kNone);  // lanes without any source have no say
  first = (Vec<U>)(targets.best[0] < none) & first;
  last = (Vec<U>)(targets.best[0] < none) & last;
  U lowest = ~U(0), highest = 0;
  const Vec<U> asked = last | ~(Vec<U>)(targets.best[0] < none);
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    lowest = asked[lane] < lowest ? asked[lane] : lowest;
    highest = first[lane] > highest ? first[lane] : highest;
  }
  return {int64_t(lowest), int64_t(highest)};
}

// tile, sums: [padded_rows(n)][kTile], rows past n of the tile hold kFar. cost: w d^2 for -(n + 8) < d < n + 8. row_bits: those of
// a key that are its row. rows: of the tile's shape, where sums are pairs. scratch: as large as a tile of 8 bytes.
template <class Sum>
__attribute__((noinline)) void columns_served(const typename Sum::T* tile, int64_t n, const typename Sum::T* cost,
                                              typename Sum::U row_bits, void* scratch, typename Sum::T* sums, int64_t* rows) {
  using T = typename Sum::T;
  using V = Vec<T>;
  constexpr int64_t stride = kVectorsPerTile<T>;
  const int64_t blocks = padded_rows(n) / kBlock, group = blocks_per_group(blocks), groups = (blocks + group - 1) / group;
  V* minima = static_cast<V*>(scratch);
  V* group_minima = minima + blocks;
  Served* served = reinterpret_cast<Served*>(group_minima + groups);
  const T most_zero = Sum::kKey ? Sum::kLeast + T(row_bits) : T(0);
  for (int vector = 0; vector < stride; ++vector) {
    const V* f = reinterpret_cast<const V*>(tile) + vector;
    V* to = reinterpret_cast<V*>(sums) + vector;
    V least_of_all = splat<T>(kFar<T>);
    for (int64_t b = 0; b < blocks; ++b) {
      V least = f[b * kBlock * stride];
      for (int i = 1; i < kBlock; ++i) least = minimum(least, f[(b * kBlock + i) * stride]);
      minima[b] = least;
      if (b % group == 0) group_minima[b / group] = least;
      else group_minima[b / group] = minimum(group_minima[b / group], least);
      least_of_all = minimum(least_of_all, least);
    }
    const bool any = any_less<T>(least_of_all, splat<T>(Sum::kNone));
    const V ceiling = least_of_all < Sum::kNone ? splat<T>(kFar<T>) : splat<T>(Sum::kLeast);  // lanes without a source want none
    int64_t step = 1;
    while (2 * step <= blocks) step *= 2;
    for (; step >= 1; step /= 2)
      for (int64_t t = step - 1; t < blocks; t += 2 * step) {
        Targets<Sum> targets;
        targets.clear();
        V most = f[t * kBlock * stride];
        for (int i = 1; i < kBlock; ++i) most = maximum(most, f[(t * kBlock + i) * stride]);
        if (!any_less<T>(splat<T>(most_zero), most)) {  // nothing but sources: they serve themselves
          for (int k = 0; k < kBlock; ++k) {
            targets.best[k] = f[(t * kBlock + k) * stride];
            if constexpr (!Sum::kKey) targets.row[k] = splat<int64_t>(t * kBlock + k);
          }
          served[t] = {t * kBlock + kBlock - 1, t * kBlock};
        } else if (any) {
          const int64_t low = t >= step ? served[t - step].lowest : 0;
          const int64_t high = t + step < blocks ? served[t + step].highest : n - 1;
          const T* own = cost + t * kBlock;
          if (high - low < 2 * kBlock) {
            if (n - t * kBlock > kBlock / 2) relax_by<Sum, kBlock>(targets, f, stride, low, high + 1, own - low);
            else relax_by<Sum, kBlock / 2>(targets, f, stride, low, high + 1, own - low);  // nobody asks the last block's others
          } else {
            V worst = ceiling;
            const auto visit = [&](int64_t s) __attribute__((always_inline)) {
              const int64_t apart = s < t ? t - s : s - t;
              if (apart > 0 && !any_less<T>(minima[s] + cost[apart * kBlock - (kBlock - 1)], worst)) return;
              const int64_t begin = s * kBlock > low ? s * kBlock : low;
              const int64_t end = s * kBlock + kBlock <= high ? s * kBlock + kBlock : high + 1;
              relax_by<Sum, kBlock>(targets, f, stride, begin, end, own - begin);
              worst = minimum(worst_of<T>(targets.best), ceiling);
            };
            const auto in_reach = [&](int64_t s) __attribute__((always_inline)) {
              const int64_t apart = s < t ? t - s : s - t;
              return apart == 0 || any_less<T>(splat<T>(Sum::kLeast + cost[apart * kBlock - (kBlock - 1)]), worst);
            };
            const int64_t first = low / kBlock, last = high / kBlock, home = t < first ? first : t > last ? last : t;
            visit(home);
            int64_t before = home - 1, behind = home + 1;
            const int64_t begin = home / group * group, end = begin + group;  // of the group that is at home
            for (bool more = true; more;) {
              more = false;
              if (before >= first && before >= begin && in_reach(before)) visit(before--), more = true;
              if (behind <= last && behind < end && in_reach(behind)) visit(behind++), more = true;
            }
            for (bool more = groups > 1; more;) {
              more = false;
              if (before >= first && in_reach(before)) {
                const int64_t g = before / group, bottom = g * group > first ? g * group : first;
                if (any_less<T>(group_minima[g] + cost[(t - before) * kBlock - (kBlock - 1)], worst))
                  for (int64_t s = before; s >= bottom && in_reach(s); --s) visit(s);
                before = bottom - 1;
                more = true;
              }
              if (behind <= last && in_reach(behind)) {
                const int64_t g = behind / group, top = (g + 1) * group - 1 < last ? (g + 1) * group - 1 : last;
                if (any_less<T>(group_minima[g] + cost[(behind - t) * kBlock - (kBlock - 1)], worst))
                  for (int64_t s = behind; s <= top && in_reach(s); ++s) visit(s);
                behind = top + 1;
                more = true;
              }
            }
          }
          served[t] = served_by<Sum>(targets, row_bits);
        }
        for (int k = 0; k < kBlock; ++k) to[(t * kBlock + k) * stride] = targets.best[k];
        if constexpr (!Sum::kKey)
          for (int k = 0; k < kBlock; ++k) reinterpret_cast<Vec<int64_t>*>(rows)[(t * kBlock + k) * stride + vector] = targets.row[k];
      }
  }
}

}  // namespace fastdist::FASTDIST_LEVEL
