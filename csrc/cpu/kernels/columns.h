// One column pass: f'(y) = min over i of f(i) + w (y - i)^2, exact, for a tile of adjacent columns.
//
// No lower envelope is built. Eight target rows are kept in registers and relaxed against blocks of eight source rows:
// 64 additions and 64 minima per pair of blocks, no branch, no division. Blocks are visited outward from the target's own
// and skipped when no lane can gain (the block's minimum plus the cost of the gap is no better than the worst target).
// The first block visited is the one that served the previous targets: its neighbour's best source is nearly always its
// own, so that the bound is tight from the start. In long columns blocks are skipped a group at a time, about sqrt(n / 8)
// of them, so that a single seed at the end of a column of 300 000 rows costs no more than elsewhere.
//
// Two-sided transforms (distance to the nearest voxel of ANOTHER label) pass `run`: the squared distance within the column
// to the nearest voxel of another label. Then sources of every label may be admitted: let t be a target and i a voxel
// beyond the end of t's run. Its candidate is at least w (t - i)^2, and run(t) is smaller. A voxel i of the same run has
// the same label, so that its f(i) is a distance to another label for t too.
#pragma once

#include "simd.h"

namespace fastdist::FASTDIST_LEVEL {

// "No source yet": at least every sum that can occur, and can itself be added to without wrapping.
template <class T> constexpr T kFar = T(1) << (sizeof(T) == 4 ? 31 : 62);
template <> inline constexpr float kFar<float> = __builtin_inff();
template <> inline constexpr double kFar<double> = __builtin_inf();

// Relaxes the 8 targets in `best` by the 8 source rows at `source`. Target k and source i are `offset + k - i` rows apart
// if the source block lies before the target's (kDirection = 1), `offset + i - k` if behind (-1), |k - i| if same (0).
template <class T, int kDirection>
FASTDIST_INLINE void relax(Vec<T>* best, const Vec<T>* source, int64_t stride, const T* cost) {
#pragma GCC unroll 8
  for (int i = 0; i < kBlock; ++i) {
    Vec<T> value = source[i * stride];
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) {
      int apart = kDirection == 0 ? (k > i ? k - i : i - k) : kDirection * (k - i);
      best[k] = minimum(best[k], value + cost[apart]);
    }
  }
}

template <class T>
FASTDIST_INLINE Vec<T> worst_of(const Vec<T>* best) {
  Vec<T> worst = best[0];
#pragma GCC unroll 8
  for (int k = 1; k < kBlock; ++k) worst = maximum(worst, best[k]);
  return worst;
}

// Blocks to a group: columns of up to 1024 rows are one group.
inline int64_t blocks_per_group(int64_t blocks) {
  int64_t size = 128;
  while (size * size < blocks) size *= 2;
  return size;
}

// tile: [padded_rows(n)][kTile], rows past n hold kFar. run: the same shape, or null. cost: w d^2 for 0 <= d < n + 8.
// scratch: for as many vectors as there are blocks and groups; a tile is more than enough. finish(first row, vector in the tile, best[8], all zero) takes the results.
// Blocks of nothing but sources are common in one-sided transforms (the background of a mask): they stay zero, at once.
template <class T, class Finish>
FASTDIST_INLINE void columns(const T* tile, const T* run, int64_t n, const T* cost, T* scratch, const Finish& finish) {
  using V = Vec<T>;
  constexpr int64_t stride = kVectorsPerTile<T>;
  V* minima = reinterpret_cast<V*>(scratch);
  const int64_t blocks = padded_rows(n) / kBlock, group = blocks_per_group(blocks), groups = (blocks + group - 1) / group;
  V* group_minima = minima + blocks;
  for (int vector = 0; vector < stride; ++vector) {
    const V* f = reinterpret_cast<const V*>(tile) + vector;
    const V* within = run ? reinterpret_cast<const V*>(run) + vector : nullptr;
    for (int64_t b = 0; b < blocks; ++b) {
      V least = f[b * kBlock * stride];
      for (int i = 1; i < kBlock; ++i) least = minimum(least, f[(b * kBlock + i) * stride]);
      minima[b] = least;
    }
    for (int64_t g = 0; g < groups; ++g) {
      V least = minima[g * group];
      for (int64_t b = g * group + 1; b < (g + 1) * group && b < blocks; ++b) least = minimum(least, minima[b]);
      group_minima[g] = least;
    }
    int64_t served = 0;  // the block that last improved a target
    for (int64_t t = 0; t < blocks; ++t) {
      V best[kBlock];
      if (!within) {
        V most = f[t * kBlock * stride];
        for (int i = 1; i < kBlock; ++i) most = maximum(most, f[(t * kBlock + i) * stride]);
        if (!any_less<T>(V{}, most)) {
          for (int k = 0; k < kBlock; ++k) best[k] = V{};
          finish(t * kBlock, vector, best, true);
          continue;
        }
      }
#pragma GCC unroll 8
      for (int k = 0; k < kBlock; ++k) best[k] = within ? within[(t * kBlock + k) * stride] : splat<T>(kFar<T>);
      V worst = worst_of<T>(best);
      auto visit = [&](int64_t s) __attribute__((always_inline)) {
        const int64_t apart = (s < t ? t - s : s - t) * kBlock;
        if (!any_less<T>(minima[s] + cost[apart - (kBlock - 1)], worst)) return;
        const V* source = f + s * kBlock * stride;
        if (s < t) relax<T, 1>(best, source, stride, cost + apart);
        else relax<T, -1>(best, source, stride, cost + apart);
        V now = worst_of<T>(best);
        if (any_less<T>(now, worst)) served = s;
        worst = now;
      };
      const int64_t first = served;
      if (first != t) visit(first);
      if (any_less<T>(minima[t], worst)) {
        relax<T, 0>(best, f + t * kBlock * stride, stride, cost);
        V now = worst_of<T>(best);
        if (any_less<T>(now, worst)) served = t;
        worst = now;
      }
      const auto in_reach = [&](int64_t apart) __attribute__((always_inline)) {
        return any_less<T>(splat<T>(cost[apart * kBlock - (kBlock - 1)]), worst);
      };
      const int64_t own = t / group, begin = own * group, end = begin + group < blocks ? begin + group : blocks;
      const int64_t farthest = t - begin > end - 1 - t ? t - begin : end - 1 - t;
      for (int64_t s = 1; s <= farthest && in_reach(s); ++s) {
        if (t - s >= begin && t - s != first) visit(t - s);
        if (t + s < end && t + s != first) visit(t + s);
      }
      for (int64_t ring = 1; ring < groups; ++ring) {
        const int64_t before = own - ring, behind = own + ring;
        bool more = false;
        if (before >= 0) {
          const int64_t nearest = (before + 1) * group - 1;
          if (in_reach(t - nearest)) {
            more = true;
            if (any_less<T>(group_minima[before] + cost[(t - nearest) * kBlock - (kBlock - 1)], worst))
              for (int64_t s = nearest; s >= before * group && in_reach(t - s); --s) visit(s);
          }
        }
        if (behind < groups) {
          const int64_t nearest = behind * group;
          if (in_reach(nearest - t)) {
            more = true;
            if (any_less<T>(group_minima[behind] + cost[(nearest - t) * kBlock - (kBlock - 1)], worst))
              for (int64_t s = nearest; s < (behind + 1) * group && s < blocks && in_reach(s - t); ++s) visit(s);
          }
        }
        if (!more) break;
      }
      finish(t * kBlock, vector, best, false);
    }
  }
}

}  // namespace fastdist::FASTDIST_LEVEL
