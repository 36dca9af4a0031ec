// One axis of the transform: f'(y) = min over all i of f(i) + w (y - i)^2, for every column along the axis. Exact.
//
// A block makes 32 adjacent columns, one a lane, so that nothing is ever transposed. Their n rows stand in shared memory, read
// once and written once: 8 bytes a voxel and pass, and 4 where the rows are made of bits (rows.cuh).
//
//   1. Anchors. Every 8th row looks for its source, argmin_i f(i) + w (y - i)^2. The argmin never decreases along a column,
//      so rows are taken at stride n / 2, n / 4, ..., 8, and each looks only between the sources of its two neighbours, outward
//      from its own place, until the distance alone exceeds the best sum: a few candidates a row, whatever the input.
//   2. Runs. A thread holds the 8 rows from one anchor to the next in registers and relaxes them against every row between the
//      two anchors' sources: 9 loads a run on average, for each 8 additions and 8 minima that nothing waits for.
//
// Where the GPU can, and all anchors at stride 16 are near their sources, these are enough: runs of 16 rows, two rows at once in
// the halves of a word (pairs.cuh).
//
// In a two-sided transform f(i) is the squared distance of i to the nearest voxel of the other kind than i's own. With run(y)
// the distance within the column to the nearest voxel of another kind than y's,
//
//   f'(y) = min(w run(y)^2, min over ALL i of f(i) + w (y - i)^2),
//
// although f(i) belongs to whatever kind i is: a row beyond the end of y's run is at least run(y) away. The runs come out of the
// column's bits, as the row distances do out of the row's.
//
// Where a column does not fit into shared memory its values stay in global memory, and the pass writes elsewhere. kFused: the
// pass ends with float results instead of squared distances.
#pragma once

#include "../divisor.h"
#include "pairs.cuh"

namespace fastdist::cuda {

template <class A>
struct ColumnsArguments {
  Units units;
  Finish finish;                       // fused into the last pass
  const RowWord* planes;               // [units][units.planes][rows][words]
  const uint32_t* label_edges;         // kLabels: [units][rows][words], along this axis
  int64_t rows, width;                 // rows = outer * length * row_step
  int words;
  int length;                          // rows of a column
  Divisor by_words, by_row_step, by_outer;
  int64_t voxel_step, word_step;       // from one row of a column to the next: row_step rows
  double weight, row_weight;           // of this axis, and of the last one
  int axis, last_axis;                 // their numbers
  bool one_sided;
  typename A::Value* sources[2];       // squared distances or keys of each side; null: made of the rows' bits
  typename A::Value* results[2];
  int squared_shift, key_shift, row_key_shift;  // keys; -1 where they are none
  char* workspace;                     // columns in global memory: column_table_bytes() a block
};

constexpr int kColumnThreads = 512;

template <class A, bool kShared, bool kFused>
class ColumnPass {
 public:
  using Value = typename A::Value;

  FASTDIST_DEVICE ColumnPass(const ColumnsArguments<A>& a, char* memory)
      : a_(a), lane_(int(threadIdx.x) & 31), warp_(int(threadIdx.x) >> 5), numbers_(reinterpret_cast<Results*>(memory)),
        values_(reinterpret_cast<Value*>(memory + sizeof(Results))),
        tables_(kShared ? memory + sizeof(Results) + column_value_bytes<A>(a.length)
                        : a.workspace + int64_t(blockIdx.x) * column_table_bytes(a.length), a.length, lane_) {
    const Place place = here();
    x_ = place.word * kLanes + lane_;
    first_voxel_ = (place.unit * a.rows + place.row) * a.width + x_;
  }

  FASTDIST_DEVICE void run() {
    for (int side = 0; side < 2; ++side) {
      const Status status = status_of(a_.units, here().unit);  // again for the second side: registers are dear
      if (status.constant) {
        if (kFused) store_constants(status);
        return;
      }
      transform(status, side);
      if (!numbers_->split) return;
      __syncthreads();
    }
  }

 private:
  static constexpr bool kPairsServe = A::kPairs && kShared;
  FASTDIST_DEVICE int last_anchor() const { return (a_.length + kRun - 1) / kRun; }
  // Where the block is; cheap enough to be asked twice, and registers are dear.
  struct Place {
    int word, unit;
    int64_t row;     // of the unit, where the column begins
  };
  FASTDIST_DEVICE Place here() const {
    const uint32_t column = quotient(blockIdx.x, a_.by_words);
    const uint32_t plane = quotient(column, a_.by_row_step), unit = quotient(plane, a_.by_outer);
    const uint32_t step = a_.by_row_step.number;
    return {int(blockIdx.x - column * a_.by_words.number), int(unit),
            int64_t(plane - unit * a_.by_outer.number) * a_.length * step + (column - plane * step)};
  }

  FASTDIST_DEVICE bool is_signed() const { return a_.units.kind == Kind::kSigned; }
  FASTDIST_DEVICE int warps() const { return int(blockDim.x) >> 5; }
  // Lanes without a column do what the last one does, which costs no time, and store nothing.
  FASTDIST_DEVICE int beyond() const { return x_ < a_.width ? 0 : int(x_ - (a_.width - 1)); }
  FASTDIST_DEVICE int64_t voxel(int i) const { return first_voxel_ + i * a_.voxel_step; }
  // The column's words in a plane of the unit: row i is words[i * a_.word_step].
  FASTDIST_DEVICE const RowWord* words_of(int plane) const {
    const Place place = here();
    return a_.planes + ((int64_t(place.unit) * a_.units.planes + plane) * a_.rows + place.row) * a_.words + place.word;
  }

  FASTDIST_DEVICE void transform(const Status& status, int side) {
    const int plane = side == 0 ? 0 : a_.units.boundary ? 2 : 1;
    const bool one_sided = a_.one_sided || status.split;
    // One-sided transforms find their sources through their zero distance; only a border needs to be told. It is no source to
    // the outside of a class, nor where the class's boundary is.
    const bool border = a_.units.border && !(status.split && side == 0) && !a_.units.boundary;
    const bool edges = !one_sided || border;
    const Outside outside{border, is_signed() && !status.split};
    const bool any = load(status, plane, one_sided, side, edges, outside);
    Column<A, kShared> column;
    if constexpr (kShared) {
      column = {shared_address(values_ + lane_)};
    } else {
      column = {a_.sources[side] + first_voxel_ - beyond(), a_.voxel_step,
                a_.key_shift < 0 ? 0 : int64_t(1) << a_.key_shift};
    }
    Value weight = Value(weight_of(a_.units, here().unit, a_.axis, a_.weight));
    if constexpr (A::kWhole && sizeof(Value) == 8) weight <<= a_.squared_shift;
    weight = opaque(weight);  // else it is kept as the double it came from, and converted wherever it is needed
    if (edges) link_edges();
    bool near = false;
    if (!kShared || any) near = find_anchors(column, weight);
    else __syncthreads();
    if constexpr (kPairsServe) {
      if (near) return run_pairs(side, column, weight, edges);
    }
    const int runs = last_anchor();
    for (int run = warp_; run < runs; run += warps()) {
      const int y = run * kRun;
      Value best[kRun];
      if (edges) {
        run_squares<A, kShared>(tables_, weight, y, a_.length, best);
      } else {
#pragma unroll
        for (int k = 0; k < kRun; ++k) best[k] = A::far();
      }
      if (any) {
        if constexpr (A::kWhole) {
#pragma unroll
          for (int k = 1; k < kRun; ++k) best[k] = multiply_add(weight, Value(-k * k), best[k]);
        }
        relax(column, weight, y, tables_.anchor(run), tables_.anchor(run + 1), best);
        if constexpr (A::kWhole) {
#pragma unroll
          for (int k = 1; k < kRun; ++k) best[k] = multiply_add(weight, Value(k * k), best[k]);
        }
      }
      store<kRun>(side, y, [&](int k) { return best[k]; });
    }
  }

  // The runs of a column where all is near.
  FASTDIST_DEVICE void run_pairs(int side, const Column<A, kShared>& column, Value weight, bool edges) {
    for (int y = warp_ * kPairRun; y < a_.length; y += warps() * kPairRun) {
      const int j = y / kRun, next = j + 2 < last_anchor() ? j + 2 : last_anchor();
      uint32_t pairs[kPairRun / 2];
      const float offered = relax_pairs(column, weight, y, tables_.anchor(j), tables_.anchor(next), pairs);
      const float upper = multiply_add(offered, 0.0f, 8388608.0f);  // nothing that the compiler knows to be constant
      if (edges) take_run_squares(tables_, weight, y, pairs);
      store<kPairRun>(side, y, [&](int k) { return number_of(pairs, k, upper); });
    }
  }

  // Values and bits into the tables; returns whether any value is finite, which is not asked of columns in global memory.
  FASTDIST_DEVICE bool load(const Status& status, int plane, bool one_sided, int side, bool edges, Outside outside) {
    const RowWord* words = words_of(plane);
    bool any = false;
    for (int first = warp_ * 32; first < a_.length; first += warps() * 32) {
      const int count = a_.length - first < 32 ? a_.length - first : 32, i = first + lane_;  // 32 rows of 32 lanes
      RowWord own{};
      if (lane_ < count) own = words[i * a_.word_step];
      uint32_t bits = own.bits;
      if (edges && a_.label_edges) bits = lane_ < count ? a_.label_edges[words - a_.planes + i * a_.word_step] : 0u;
      bits = transposed(bits, lane_);
      if (edges) {
        const bool previous = first > 0 ? words[(first - 1) * a_.word_step].bits >> lane_ & 1 : outside.set;
        put_edges(bits, previous, first, count, outside);
      }
      if (kFused && is_signed()) {
        if (side == 1) bits = transposed(lane_ < count ? words_of(0)[i * a_.word_step].bits : 0u, lane_);
        tables_.not_inside(first) = bits;
      }
      if constexpr (kShared) any = load_values(first, count, own, one_sided, side) || any;
    }
    if (kShared && warp_ == 0)
      for (int i = 0; i < kRowsBehind; ++i) values_[(a_.length + i) * kLanes + lane_] = A::far();
    if (threadIdx.x == 0)
      *numbers_ = {Signs<float>(lengths_of(a_.units, here().unit), a_.finish.clip), status.split, side == 1, status.inside_constant,
                   float(status.value)};
    if constexpr (kShared) return __syncthreads_or(any);
    __syncthreads();
    return a_.length > 0;  // always; told so, the compiler spills a register of any double's columns on sm_120
  }

  FASTDIST_DEVICE bool load_values(int first, int count, const RowWord& own, bool one_sided, int side) {
    bool any = false;
    Value* tile = values_ + int64_t(first) * kLanes;
    if (a_.sources[side]) {
      const Value* from = a_.sources[side] + voxel(first) - beyond();
      Value least = A::far();
#pragma unroll 8
      for (int i = 0; i < count; ++i, from += a_.voxel_step) {
        Value value = *from;
        if constexpr (A::kWhole && sizeof(Value) == 8) {
          if (a_.key_shift >= 0 && value < A::far()) value += int64_t(first + i) << a_.key_shift;
        }
        least = smaller(least, value);
        tile[i * kLanes + lane_] = value;
      }
      return least < A::far();
    }
    // What a row's voxels need of its word stands where the anchors will, 16 bytes a row, from where all lanes read it in one go.
    void* lines = tables_.lines(first, count, lane_);
    const Value row_weight = opaque(Value(weight_of(a_.units, here().unit, a_.last_axis, a_.row_weight)));
    if constexpr (A::kWhole && sizeof(Value) == 8) {
      if (a_.key_shift >= 0) {
        RowWord* words = static_cast<RowWord*>(lines);
        if (lane_ < count) words[lane_] = own;
        __syncwarp();
        for (int i = 0; i < count; ++i) {
          Value value = row_key(words[i], lane_, x_ >> 5, a_.width, row_weight << a_.squared_shift, a_.row_key_shift);
          any = any || value < A::far();
          if (value < A::far()) value += int64_t(first + i) << a_.key_shift;
          tile[i * kLanes + lane_] = value;
        }
        return any;
      }
    }
    uint4* marks = static_cast<uint4*>(lines);
    if (lane_ < count) {
      const Marks mine = marks_of(own, one_sided, voxels_of_word(a_.width, x_ >> 5));
      any = any_mark(mine);
      marks[lane_] = packed(mine);
    }
    __syncwarp();
    const int lane = lane_ - beyond();
    for (int i = 0; i < count; ++i) tile[i * kLanes + lane_] = row_square<A>(unpacked(marks[i]), lane, one_sided, row_weight);
    return any;
  }

  // The edges of `count` rows from `first` on, out of their bits: bit i between rows first + i - 1 and first + i. `previous`: the
  // bit of the row before, or of the outside. The edge at the column's end is bit `count`; or where that is none, what lies behind
  // the last word.
  FASTDIST_DEVICE void put_edges(uint32_t bits, bool previous, int first, int count, Outside outside) {
    uint32_t edges = bits;
    bool end = outside.known;
    if (!a_.label_edges) {
      edges ^= bits << 1 | uint32_t(previous);
      if (first == 0 && !outside.known) edges &= ~1u;
      if (count < 32) edges &= ~(1u << count);
      end = end && (bits >> (count - 1) & 1) != uint32_t(outside.set);
    }
    if (first + count == a_.length) {
      if (count < 32 && end) edges |= 1u << count;
      tables_.after(first) = count == 32 && end ? a_.length : kNoEdgeAfter;
    }
    tables_.edges(first) = edges;
  }

  // The nearest edges outside of each 32 rows, by one warp for each; what lies behind the last ones is known.
  FASTDIST_DEVICE void link_edges() {
    const int chunks = (a_.length + 31) / 32;
    for (int chunk = warp_; chunk < chunks; chunk += warps()) {
      int before = kNoEdgeBefore;
      for (int c = chunk - 1; c >= 0 && before == kNoEdgeBefore; --c) {
        const uint32_t edges = tables_.edges(c * 32);
        if (edges) before = c * 32 + highest_bit(edges);
      }
      tables_.before(chunk * 32) = before;
      if (chunk == chunks - 1) continue;
      int after = kNoEdgeAfter;
      for (int c = chunk + 1; c < chunks && after == kNoEdgeAfter; ++c) {
        const uint32_t edges = tables_.edges(c * 32);
        if (edges) after = c * 32 + lowest_bit(edges);
      }
      tables_.after(chunk * 32) = after == kNoEdgeAfter ? tables_.after(a_.length - 1) : after;
    }
  }

  // Sources of rows 0, 8, 16, ..., n - 1: first of both ends, then of every row between two that are known. Ends with a barrier.
  // Where all is near, rows 8, 24, 40, ... are left out; returns whether they are.
  FASTDIST_DEVICE bool find_anchors(const Column<A, kShared>& column, Value weight) {
    const int last = last_anchor();
    // Not for thin images whose last run would be half empty.
    const bool pairs_serve = kPairsServe && has_pairs() && (a_.length > 4 * kPairRun || (a_.length - 1) % kPairRun >= kRun);
    float most = 0.0f;  // of the anchors' sums
    const auto find = [&](int j, int lo, int hi) {
      Value sum;
      const int y = j < last ? j * kRun : a_.length - 1;
      tables_.anchor(j) = source_of(column, weight, y, lo, hi, sum);
      if (pairs_serve) most = larger(most, float(sum));
    };
    for (int end = warp_; end < 2; end += warps()) find(end * last, 0, a_.length - 1);
    int step = 1;
    while (2 * step < last) step *= 2;
    for (; step >= 1; step /= 2) {
      if (step > 1 || !pairs_serve) __syncthreads();
      else if (__syncthreads_and(are_near(most, float(weight)))) return true;
      for (int j = step * (1 + 2 * warp_); j < last; j += 2 * step * warps())
        find(j, tables_.anchor(j - step), tables_.anchor(j + step < last ? j + step : last));
    }
    __syncthreads();
    return false;
  }

  // The results of kCount rows from y on; value(k): the squared distance of number k.
  template <int kCount, class Read>
  FASTDIST_DEVICE void store(int side, int y, const Read& value) {
    if (x_ >= a_.width) return;
    const int left = a_.length - y;
    uint32_t write = (1u << (left < kCount ? left : kCount)) - 1u;
    if constexpr (!kFused) {
      Value* out = a_.results[side] + voxel(y);
#pragma unroll
      for (int k = 0; k < kCount; ++k, out += a_.voxel_step) store_if(write & 1u << k, out, value(k));
    } else {
      float* out = static_cast<float*>(a_.finish.out) + voxel(y);
      const Results numbers = *numbers_;
      const Signs<float>& sign = numbers.sign;
      const uint32_t inside = is_signed() ? ~(tables_.not_inside(y) >> (y & 31)) : 0;
      if (numbers.split) write &= numbers.second ? inside : ~inside;
      constexpr int kAtOnce = 8;
#pragma unroll
      for (int first = 0; first < kCount; first += kAtOnce) {
        float results[kAtOnce];
        if (is_signed()) {
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k)
            results[k] = sign.unclipped(root_of<A>(value(first + k)), has_bit(inside, first + k));
          if (sign.clip < infinity_of<float>()) {
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) results[k] = sign.clipped(results[k]);
          }
        } else {
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k) {
            const Value squared = value(first + k);
            results[k] = squared < A::far() ? product(root_of<A>(squared), sign.scale) : infinity_of<float>();
          }
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k, out += a_.voxel_step) store_if(write & 1u << (first + k), out, results[k]);
      }
      if (numbers.split) store_special(numbers, y, write);
    }
  }

  // Overwrites what has no distance, where voxels may be neither inside nor outside: those of rows y + k, by the bits of `which`.
  FASTDIST_DEVICE void store_special(const Results& numbers, int y, uint32_t which) const {
    for (int i = y; which != 0; ++i, which >>= 1) {
      if (!(which & 1) || !(numbers.second ? numbers.inside_constant : is_ignored(i))) continue;
      static_cast<float*>(a_.finish.out)[voxel(i)] = numbers.second ? numbers.constant : 0.0f;
    }
  }

  FASTDIST_DEVICE bool is_ignored(int i) const {
    if (a_.units.planes == 1) return false;
    const RowWord* word = words_of(0) + i * a_.word_step;
    return (word->bits & word[a_.rows * a_.words].bits) >> lane_ & 1;
  }

  FASTDIST_DEVICE void store_constants(const Status& status) {
    if (x_ >= a_.width) return;
    for (int i = warp_; i < a_.length; i += warps())
      static_cast<float*>(a_.finish.out)[voxel(i)] = is_signed() && is_ignored(i) ? 0.0f : float(status.value);
  }

  const ColumnsArguments<A>& a_;
  int lane_, warp_;
  int x_;                  // of this thread's column
  Results* numbers_;
  Value* values_;          // [length][kLanes]
  ColumnTables tables_;
  int64_t first_voxel_;    // row 0 of the column
};

template <class A, bool kShared, bool kFused>
FASTDIST_KERNEL FASTDIST_BOUNDS(kColumnThreads, A::kBlocks) void columns(ColumnsArguments<A> a) {
  FASTDIST_SHARED(memory);
  ColumnPass<A, kShared, kFused>(a, memory).run();
}

}  // namespace fastdist::cuda
