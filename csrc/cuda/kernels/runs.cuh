// The two steps of a column pass (columns.cuh): the source of an anchor, and runs of 8 rows.
#pragma once

#include "column.cuh"

namespace fastdist::cuda {

// The source of row y among rows lo..hi, and its sum. Outward, two distances a turn, until nothing further away can win.
template <class A, bool kShared>
FASTDIST_DEVICE int source_of(const Column<A, kShared>& column, typename A::Value weight, int y, int lo, int hi,
                              typename A::Value& best) {
  using Value = typename A::Value;
  best = A::far();
  int source = lo;
  int d = 0;
  if (lo > y) d = lo - y;
  if (y > hi) d = y - hi;
  const int most = y - lo > hi - y ? y - lo : hi - y;
  int left = y - d, right = y + d;
  // Counted in whole numbers as well as d is; other floats convert it, since they may be too coarse to be counted in.
  for (Value x = A::of(d); d <= most; d += 2, left -= 2, right += 2, x = A::kWhole ? x + Value(2) : A::of(d)) {
    const Value cost = square_of(weight, x), next = square_of(weight, x + Value(1));
    if (!(cost < best)) break;
    FASTDIST_COUNT("anchor candidates", 4);
    // Beyond its end a side takes the end again, at too high a cost: that changes nothing.
    const int at[4] = {left > lo ? left : lo, right < hi ? right : hi, left - 1 > lo ? left - 1 : lo,
                       right + 1 < hi ? right + 1 : hi};
    const Value sums[4] = {column(at[0]) + cost, column(at[1]) + cost, column(at[2]) + next, column(at[3]) + next};
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (sums[k] < best) best = sums[k], source = at[k];
  }
  return source;
}

// Calls each(i) for rows lo..hi; in shared memory two a turn, hence for row hi + 1 too where they are odd: that changes nothing.
template <bool kShared, class Each>
FASTDIST_DEVICE void for_rows(int lo, int hi, const Each& each) {
  if constexpr (kShared) {
#pragma unroll 1
    for (int i = lo; i <= hi; i += 2) {
      each(i);
      each(i + 1);
    }
  } else {
    for (int i = lo; i <= hi; ++i) each(i);
  }
}

// Relaxes the run of rows from y on against rows lo..hi, in shared memory against some more where that fills a turn of a loop: they
// change nothing. In whole numbers best[k] is held less w k^2:
//   f(i) + w (d + k)^2 - w k^2 = (f(i) + w d^2) + 2 w d k.
// In others the squares of 11 distances serve four rows.
template <class A, bool kShared>
FASTDIST_DEVICE void relax(const Column<A, kShared>& column, typename A::Value weight, int y, int lo, int hi,
                           typename A::Value* best) {
  using Value = typename A::Value;
  FASTDIST_COUNT("run rows", hi - lo + 1);
  Value d = Value(y - lo);
  if constexpr (A::kWhole) {
    for_rows<kShared>(lo, hi, [&](int i) {
      const Value slope = weight * d, sum = multiply_add(slope, d, column(i));
#pragma unroll
      for (int k = 0; k < kRun; ++k) best[k] = smaller(best[k], k == 0 ? sum : multiply_add(slope, Value(2 * k), sum));
      d -= Value(1);
    });
  } else if constexpr (kShared) {
    Value squares[kRun + 3];  // of d - 3, d - 2, ..., d + 7
#pragma unroll
    for (int m = 4; m < kRun + 3; ++m) squares[m] = square_of(weight, d + Value(m - 3));
    for (int i = lo; i <= hi; i += 4) {
#pragma unroll
      for (int m = 0; m < 4; ++m) squares[m] = square_of(weight, d + Value(m - 3));
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const Value f = column(i + r);
#pragma unroll
        for (int k = 0; k < kRun; ++k) best[k] = smaller(best[k], f + squares[3 - r + k]);
      }
#pragma unroll
      for (int m = kRun + 2; m >= 4; --m) squares[m] = squares[m - 4];
      d -= Value(4);
    }
  } else {
    for (int i = lo; i <= hi; ++i) {
      const Value f = column(i), first = Value(y - i);
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        const Value away = first + Value(k);
        best[k] = smaller(best[k], multiply_add(weight * away, away, f));
      }
    }
  }
}

// What the bits of a column say about the run of rows from y on.
struct EdgesOfRun {
  uint32_t within;    // bit k: an edge between rows y + k - 1 and y + k
  int behind, ahead;  // from the first row, and from the last one, to the nearest row beyond an edge; past 2^29 where there is none
};

template <int kCount>
FASTDIST_DEVICE EdgesOfRun edges_of_run(const ColumnTables& tables, int y) {
  const int shift = y & 31;  // kCount divides 32: one word has the whole run
  const uint32_t edges = tables.edges(y);
  const uint32_t below = edges & (0xffffffffu >> (31 - shift));
  const uint32_t above = shift + kCount == 32 ? 0u : edges & (0xffffffffu << (shift + kCount));
  const int before = opaque(tables.before(y)), after = opaque(tables.after(y));  // read anyway: cheaper than two branches
  const int from = below ? (y & ~31) + highest_bit(below) : before;
  const int to = above ? (y & ~31) + lowest_bit(above) : after;
  return {edges >> shift, y + 1 - from, to - (y + kCount - 1)};
}

// Squared distances, along the column, of the run of rows from y on to the nearest edge.
template <class A, bool kShared>
FASTDIST_DEVICE void run_squares(const ColumnTables& tables, typename A::Value weight, int y, int length,
                                 typename A::Value* squares) {
  const EdgesOfRun run = edges_of_run<kRun>(tables, y);
  // Floats count short columns, and infinity stays infinity, whatever is added.
  if constexpr (A::kInfinite || (kShared && !A::kWhole && sizeof(typename A::Value) == 4)) {
    float behind = run.behind > length ? A::far() : ExactFloat::of(run.behind);
    float ahead[kRun];
    ahead[kRun - 1] = run.ahead > length ? A::far() : ExactFloat::of(run.ahead);
#pragma unroll
    for (int k = kRun - 1; k > 0; --k) ahead[k - 1] = run.within >> k & 1 ? 1.0f : ahead[k] + 1.0f;
#pragma unroll
    for (int k = 0; k < kRun; ++k) {
      if (k > 0) behind = run.within >> k & 1 ? 1.0f : behind + 1.0f;
      const float d = smaller(behind, ahead[k]);
      squares[k] = square_of(weight, d);
    }
    return;
  }
  int ahead[kRun], behind = run.behind;
  ahead[kRun - 1] = run.ahead;
#pragma unroll
  for (int k = kRun - 1; k > 0; --k) ahead[k - 1] = run.within >> k & 1 ? 1 : ahead[k] + 1;
#pragma unroll
  for (int k = 0; k < kRun; ++k) {
    if (k > 0) behind = run.within >> k & 1 ? 1 : behind + 1;
    const int d = behind < ahead[k] ? behind : ahead[k];
    squares[k] = d > length ? A::far() : cost_of<A>(weight, d);
  }
}

}  // namespace fastdist::cuda
