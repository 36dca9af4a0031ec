// Runs of 16 rows where every distance is short: two squared distances in the halves of a word, which one instruction of sm_90
// and sm_100 relaxes at once, two of sm_120 and a dozen of sm_110. Half the anchors, and a row of a run costs less for 16 voxels
// than otherwise for 8 (docs/kernels.md).
//
// A run is relaxed against the rows from one anchor's source to the next one's, as in runs.cuh. With d = y - i, what row i
// offers to voxel k is f(i) + w (d + k)^2. best[k] is held less w (2 d k + k^2), so that all voxels of a run are offered the same,
// f(i) + w d^2, and best[k] grows by 2 w k from row to row. That is never negative, since d falls.
//
// Short: both anchors' squared distances, times w, are at most kNear, and w at most kNearWeight = 36. A source is then at most
// 181 / w rows away from its anchor, and no row of the loop more than 17 + 181 / w from the run's first. Offers are capped at kCap:
//   * nothing exceeds 16 bits: at most kCap + 30 w in the loop, and kCap + 30 * 181 + 225 w < 65536 at its end;
//   * a capped offer wins nowhere: it gives no less than kCap - 30 w (17 + 181 / w) = kCap - 510 w - 5430, while each voxel of the
//     run is within 8 rows of an anchor, so that its own is at most kNear / w + 16 * 181 + 64 w, which is less for all w.
#pragma once

#include "runs.cuh"

namespace fastdist::cuda {

constexpr int kPairRun = 16;               // target rows that a thread holds, as kPairRun / 2 pairs
constexpr float kNear = 32768.0f, kNearWeight = 36.0f;
constexpr uint32_t kCap = 49152;

// `most`: the largest of the squared distances; infinity is not near.
FASTDIST_DEVICE bool are_near(float most, float weight) { return weight <= kNearWeight && most * weight <= kNear; }

FASTDIST_ANYWHERE constexpr uint32_t pair_of(uint32_t low, uint32_t high) { return low | high << 16; }

// Number k of a run. `upper`: 2^23 in a register, since only one operand of the instruction can be a constant.
FASTDIST_DEVICE float number_of(const uint32_t* pairs, int k, float upper) {
  const uint32_t half = k % 2 == 0 ? 0x7610 : 0x7632;
  return __int_as_float(int(__byte_perm(pairs[k / 2], uint32_t(__float_as_int(upper)), half))) - upper;
}

// Relaxes the run of rows from y on against rows lo..hi. Returns a number that is finite, and unknown to the compiler.
template <class A, bool kShared>
FASTDIST_DEVICE float relax_pairs(const Column<A, kShared>& column, float weight, int y, int lo, int hi, uint32_t* pairs) {
  FASTDIST_COUNT("pair rows", hi - lo + 1);
  const uint32_t whole = uint32_t(weight);
  uint32_t steps[kPairRun / 2];
#pragma unroll
  for (int j = 0; j < kPairRun / 2; ++j) {
    steps[j] = 2 * whole * pair_of(2 * j, 2 * j + 1);
    pairs[j] = pair_of(kCap, kCap);
  }
  float d = float(y - lo);
  for_rows<kShared>(lo, hi, [&](int i) {
    const float offer = smaller(multiply_add(weight * d, d, column(i)), float(kCap)) + 8388608.0f;
    const uint32_t both = __byte_perm(uint32_t(__float_as_int(offer)), 0, 0x1010);
#pragma unroll
    for (int j = 0; j < kPairRun / 2; ++j) pairs[j] = __viaddmin_u16x2(pairs[j], steps[j], both);
    d -= 1.0f;
  });
  const uint32_t last = uint32_t(int(d) + 1);  // y less the last row
  // Neither half leaves its 16 bits: sums of pairs are pairs of sums.
#pragma unroll
  for (int j = 0; j < kPairRun / 2; ++j)
    pairs[j] = whole * pair_of(4 * j * j, (2 * j + 1) * (2 * j + 1)) + (last * steps[j] + pairs[j]);
  return d;
}

// Takes what is smaller: the run's squared distances, or those along the column to the nearest edge. They are made in steps of
// the spacing, whose square the weight is, and capped so that squares fit; what is further from an edge has something nearer.
FASTDIST_DEVICE void take_run_squares(const ColumnTables& tables, float weight, int y, uint32_t* pairs) {
  const float reciprocal = rough_reciprocal_root(weight);
  const float spacing = weight * reciprocal + 8388608.0f - 8388608.0f;  // a whole number
  const int most = int(255.9f * reciprocal) - (kPairRun - 1);
  const EdgesOfRun run = edges_of_run<kPairRun>(tables, y);
  const auto of = [&](int d) { return ExactFloat::of(d < most ? d : most) * spacing; };
  const auto goes_on = [&](int k) { return run.within >> k & 1 ? 0.0f : 1.0f; };
  const auto take = [&](int j, float even, float odd) {
    const uint32_t low = uint32_t(__float_as_int(multiply_add(even, even, 8388608.0f)));
    const uint32_t high = uint32_t(__float_as_int(multiply_add(odd, odd, 8388608.0f)));
    pairs[j] = __vminu2(pairs[j], __byte_perm(low, high, 0x5410));
  };
  // From behind, the second half's at once and the first half's kept: registers are dear.
  float ahead = of(run.ahead), kept[kRun];
#pragma unroll
  for (int k = kPairRun - 1; k >= 0; --k) {
    const float next = ahead;
    if (k < kPairRun - 1) ahead = multiply_add(ahead, goes_on(k + 1), spacing);
    if (k < kRun) kept[k] = ahead;
    else if (k % 2 == 0) take(k / 2, ahead, next);
  }
  float behind = of(run.behind);
#pragma unroll
  for (int k = 0; k < kPairRun; ++k) {
    const float last = behind;
    if (k > 0) behind = multiply_add(behind, goes_on(k), spacing);
    if (k % 2 == 0) continue;
    if (k < kRun) take(k / 2, smaller(last, kept[k - 1]), smaller(behind, kept[k]));
    else take(k / 2, last, behind);
  }
}

}  // namespace fastdist::cuda
