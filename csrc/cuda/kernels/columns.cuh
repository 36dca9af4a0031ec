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

#include "rows.cuh"

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
  int64_t row_step, outer;
  int64_t voxel_step, word_step;       // from one row of a column to the next: row_step rows
  double weight, row_weight;           // of this axis, and of the last one
  int axis, last_axis;                 // their numbers
  bool one_sided;
  typename A::Value* sources[2];       // squared distances or keys of each side; null: made of the rows' bits
  typename A::Value* results[2];
  int squared_shift, key_shift, row_key_shift;  // keys; -1 where they are none
  char* workspace;                     // columns in global memory: kTableBytes a row and block
};

constexpr int kColumnThreads = 512;

#if defined(FASTDIST_COUNT_TRIPS)  // what a warp goes through: the most of its lanes (benchmarks/candidates.py)
#define FASTDIST_COUNT_WARP(name, trips) \
  FASTDIST_COUNT(name, __reduce_max_sync(0xffffffffu, int(trips)) * ((threadIdx.x & 31) == 0 ? 1 : 0))
#else
#define FASTDIST_COUNT_WARP(name, trips) ((void)0)
#endif

// Shared memory of a block, for each 32 rows: values, tables of the columns' bits, anchors.
template <class A>
FASTDIST_ANYWHERE constexpr int64_t column_value_bytes(int64_t length) { return length * kLanes * int64_t(sizeof(typename A::Value)); }
FASTDIST_ANYWHERE constexpr int64_t column_table_bytes(int64_t length) {
  return (length + 31) / 32 * (4 * kLanes * 4) + ((length + kRun - 1) / kRun + 1) * kLanes * 4;
}

// Bit x of lane i becomes bit i of lane x: five exchanges of halves.
FASTDIST_DEVICE uint32_t transposed(uint32_t bits, int lane) {
  uint32_t keep = 0x0000ffffu;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const uint32_t other = __shfl_xor_sync(0xffffffffu, bits, step);
    bits = lane & step ? (bits & ~keep) | ((other & ~keep) >> step) : (bits & keep) | ((other & keep) << step);
    keep ^= keep << (step / 2);
  }
  return bits;
}

// What a block knows of its columns' bits, for each 32 rows and lane; and the anchors. One pointer, since registers are dear.
struct ColumnTables {
  uint32_t* base;
  int cells;  // of one table

  FASTDIST_DEVICE ColumnTables(char* memory, int length)
      : base(reinterpret_cast<uint32_t*>(memory)), cells((length + 31) / 32 * kLanes) {}
  // Edges between rows of different kind.
  FASTDIST_DEVICE uint32_t& edges(int cell) const { return base[cell]; }
  // The last edge before these rows, kNoEdgeBefore where there is none, and the first one behind them.
  FASTDIST_DEVICE int& before(int cell) const { return reinterpret_cast<int&>(base[cells + cell]); }
  FASTDIST_DEVICE int& after(int cell) const { return reinterpret_cast<int&>(base[2 * cells + cell]); }
  // Signed maps: the bits of plane 0.
  FASTDIST_DEVICE uint32_t& not_inside(int cell) const { return base[3 * cells + cell]; }
  // The sources of rows 0, 8, 16, ..., n - 1.
  FASTDIST_DEVICE int& anchor(int index) const { return reinterpret_cast<int&>(base[4 * cells + index]); }
};

// A column: row i is base[i * step]; keys get their coordinate on this axis here.
template <class A, bool kShared>
struct Column {
  using Value = typename A::Value;
  const Value* base;
  int64_t step, key_step;
  FASTDIST_DEVICE Value operator()(int i) const {
    if constexpr (kShared) {
      return base[i * kLanes];
    } else {
      Value value = base[i * step];
      if constexpr (sizeof(Value) == 8 && A::kWhole) value += Value(i) * key_step;
      return value;
    }
  }
};

// The source of row y among rows lo..hi. Outward, two distances a turn, until nothing further away can win.
template <class A, bool kShared>
FASTDIST_DEVICE int source_of(const Column<A, kShared>& column, typename A::Value weight, int y, int lo, int hi) {
  using Value = typename A::Value;
  Value best = A::far();
  int source = lo;
  int d = 0;
  if (lo > y) d = lo - y;
  if (y > hi) d = y - hi;
  const int most = y - lo > hi - y ? y - lo : hi - y;
  int left = y - d, right = y + d;
  // Counted in whole numbers as well as d is; other floats convert it, since they may be too coarse to be counted in.
  for (Value x = A::of(d); d <= most; d += 2, left -= 2, right += 2, x = A::kWhole ? x + Value(2) : A::of(d)) {
    const Value cost = weight * x * x, further = x + Value(1), next = weight * further * further;
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
  FASTDIST_COUNT_WARP("anchor distances, warp", d - (lo > y ? lo - y : y > hi ? y - hi : 0) + 1);
  FASTDIST_COUNT_WARP("anchors, warp", 1);
  return source;
}

// Relaxes the run of rows from y on against rows lo..hi. In whole numbers best[k] is held less w k^2:
//   f(i) + w (d + k)^2 - w k^2 = (f(i) + w d^2) + 2 w d k.
template <class A, bool kShared>
FASTDIST_DEVICE void relax(const Column<A, kShared>& column, typename A::Value weight, int y, int lo, int hi,
                           typename A::Value* best) {
  using Value = typename A::Value;
  FASTDIST_COUNT("run rows", hi - lo + 1);
  FASTDIST_COUNT_WARP("run rows, warp", hi - lo + 1);
  FASTDIST_COUNT_WARP("runs, warp", 1);
  Value d = Value(y - lo);
  for (int i = lo; i <= hi; ++i) {
    const Value f = column(i);
    if constexpr (A::kWhole) {
      const Value slope = weight * d, sum = multiply_add(slope, d, f);
#pragma unroll
      for (int k = 0; k < kRun; ++k) best[k] = smaller(best[k], k == 0 ? sum : multiply_add(slope, Value(2 * k), sum));
      d -= Value(1);
    } else {
      d = Value(y - i);
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        const Value away = d + Value(k);
        best[k] = smaller(best[k], multiply_add(away * weight, away, f));
      }
    }
  }
}

// Squared distances, along the column, of the run of rows from y on to the nearest edge.
template <class A>
FASTDIST_DEVICE void run_squares(const ColumnTables& tables, typename A::Value weight, int y, int length, int lane,
                                 typename A::Value* squares) {
  const int cell = (y >> 5) * kLanes + lane, shift = y & 31;  // 8 divides 32: one word has the whole run
  const uint32_t edges = tables.edges(cell);
  const uint32_t below = edges & (0xffffffffu >> (31 - shift));
  const uint32_t above = shift + kRun == 32 ? 0u : edges & (0xffffffffu << (shift + kRun));
  const int from = below ? (y & ~31) + highest_bit(below) : tables.before(cell);
  const int to = above ? (y & ~31) + lowest_bit(above) : tables.after(cell);
  if constexpr (A::kInfinite) {  // infinity stays infinity, whatever is added
    float before = from == kNoEdgeBefore ? A::far() : A::of(y + 1 - from);
    float after[kRun];
    after[kRun - 1] = to == kNoEdgeAfter ? A::far() : A::of(to - (y + kRun - 1));
    const uint32_t bits = edges >> shift;
#pragma unroll
    for (int k = kRun - 2; k >= 0; --k) after[k] = bits & (2u << k) ? 1.0f : after[k + 1] + 1.0f;
#pragma unroll
    for (int k = 0; k < kRun; ++k) {
      if (k > 0) before = bits & (1u << k) ? 1.0f : before + 1.0f;
      const float d = smaller(before, after[k]);
      squares[k] = weight * d * d;
    }
    return;
  }
  int ahead[kRun], behind = y + 1 - from;
  ahead[kRun - 1] = to - (y + kRun - 1);
#pragma unroll
  for (int k = kRun - 2; k >= 0; --k) ahead[k] = edges >> (shift + k + 1) & 1 ? 1 : ahead[k + 1] + 1;
#pragma unroll
  for (int k = 0; k < kRun; ++k) {
    if (k > 0) behind = edges >> (shift + k) & 1 ? 1 : behind + 1;
    const int d = behind < ahead[k] ? behind : ahead[k];
    squares[k] = d > length ? A::far() : cost_of<A>(weight, d);
  }
}

template <class A, bool kShared, bool kFused>
class ColumnPass {
 public:
  using Value = typename A::Value;

  FASTDIST_DEVICE ColumnPass(const ColumnsArguments<A>& a, char* memory)
      : a_(a), lane_(int(threadIdx.x) & 31), warp_(int(threadIdx.x) >> 5), values_(reinterpret_cast<Value*>(memory)),
        tables_(kShared ? memory + column_value_bytes<A>(a.length)
                        : a.workspace + int64_t(blockIdx.x) * column_table_bytes(a.length), a.length) {
    unsigned block = blockIdx.x;  // every factor of the grid's size fits 32 bits, as it does
    const int word = int(block % unsigned(a.words));
    block /= unsigned(a.words);
    int64_t first_row = block % unsigned(a.row_step);
    block /= unsigned(a.row_step);
    first_row += int64_t(block % unsigned(a.outer)) * a.length * a.row_step;
    unit_ = int(block / unsigned(a.outer));
    x_ = word * kLanes + lane_;
    first_voxel_ = (unit_ * a.rows + first_row) * a.width + x_;
    first_word_ = (int64_t(unit_) * a.units.planes * a.rows + first_row) * a.words + word;
  }

  FASTDIST_DEVICE void run() {
    const Status status = status_of(a_.units, unit_);
    if (status.constant) {
      if (kFused) store_constants(status);
      return;
    }
    const int sides = status.split ? 2 : 1;
    for (int side = 0; side < sides; ++side) {
      if (side > 0) __syncthreads();
      transform(status, side);
    }
  }

 private:
  FASTDIST_DEVICE bool is_signed() const { return a_.units.kind == Kind::kSigned; }
  FASTDIST_DEVICE int warps() const { return int(blockDim.x) >> 5; }
  FASTDIST_DEVICE int64_t voxel(int i) const { return first_voxel_ + i * a_.voxel_step; }
  // The word of row i in a plane of the unit.
  FASTDIST_DEVICE const RowWord& word(int plane, int i) const {
    return a_.planes[first_word_ + plane * a_.rows * a_.words + i * a_.word_step];
  }

  FASTDIST_DEVICE void transform(const Status& status, int side) {
    const int plane = side == 0 ? 0 : a_.units.boundary ? 2 : 1;
    const bool one_sided = a_.one_sided || status.split;
    // One-sided transforms find their sources through their zero distance; only a border needs to be told. It is no source to
    // the outside of a class, nor where the class's boundary is.
    const bool border = a_.units.border && !(status.split && side == 0) && !a_.units.boundary;
    const bool edges = !one_sided || border;
    const Outside outside{border, is_signed() && !status.split};
    const bool any = load(plane, one_sided, side, edges);
    Column<A, kShared> column;
    if constexpr (kShared) {
      column = {values_ + lane_, kLanes, 0};
    } else {
      const int64_t beyond = x_ < a_.width ? 0 : x_ - (a_.width - 1);
      column = {a_.sources[side] + first_voxel_ - beyond, a_.voxel_step,
                a_.key_shift < 0 ? 0 : int64_t(1) << a_.key_shift};
    }
    Value weight = Value(weight_of(a_.units, unit_, a_.axis, a_.weight));
    if constexpr (A::kWhole && sizeof(Value) == 8) weight <<= a_.squared_shift;
    weight = opaque(weight);  // else it is kept as the double it came from, and converted wherever it is needed
    if (edges && warp_ == warps() - 1) link_edges(outside);
    if (any) find_anchors(column, weight);
    else __syncthreads();
    const int runs = (a_.length + kRun - 1) / kRun;
    for (int run = warp_; run < runs; run += warps()) {
      const int y = run * kRun;
      Value best[kRun];
      if (edges) {
        run_squares<A>(tables_, weight, y, a_.length, lane_, best);
      } else {
#pragma unroll
        for (int k = 0; k < kRun; ++k) best[k] = A::far();
      }
      if (any) {
        if constexpr (A::kWhole) {
#pragma unroll
          for (int k = 1; k < kRun; ++k) best[k] = multiply_add(weight, Value(-k * k), best[k]);
        }
        relax(column, weight, y, tables_.anchor(run * kLanes + lane_), tables_.anchor((run + 1) * kLanes + lane_), best);
        if constexpr (A::kWhole) {
#pragma unroll
          for (int k = 1; k < kRun; ++k) best[k] = multiply_add(weight, Value(k * k), best[k]);
        }
      }
      store(status, side, y, best);
    }
  }

  // Values and bits into the tables; returns whether any value is finite.
  FASTDIST_DEVICE bool load(int plane, bool one_sided, int side, bool edges) {
    bool any = !kShared;
    for (int first = warp_ * 32; first < a_.length; first += warps() * 32) {
      const int count = a_.length - first < 32 ? a_.length - first : 32, cell = first + lane_;  // 32 rows of 32 lanes
      RowWord own{};
      if (lane_ < count) own = word(plane, first + lane_);
      if (edges) {
        uint32_t bits = own.bits;
        if (a_.label_edges)
          bits = lane_ < count ? a_.label_edges[first_word_ + (first + lane_) * a_.word_step] : 0u;
        tables_.edges(cell) = transposed(bits, lane_);
      }
      if (kFused && is_signed()) {
        uint32_t bits = 0;
        if (lane_ < count) bits = side == 0 ? own.bits : word(0, first + lane_).bits;
        tables_.not_inside(cell) = transposed(bits, lane_);
      }
      if constexpr (kShared) any = load_values(first, count, own, one_sided, side) || any;
    }
    return __syncthreads_or(any);
  }

  FASTDIST_DEVICE bool load_values(int first, int count, const RowWord& own, bool one_sided, int side) {
    bool any = false;
    Value* tile = values_ + int64_t(first) * kLanes;
    if (a_.sources[side]) {
      const int64_t step = a_.voxel_step;
      const Value* from = a_.sources[side] + voxel(first);
#pragma unroll 8
      for (int i = 0; i < count; ++i, from += step) {
        Value value = A::far();
        if (x_ < a_.width) value = *from;
        if constexpr (A::kWhole && sizeof(Value) == 8) {
          if (a_.key_shift >= 0 && value < A::far()) value += int64_t(first + i) << a_.key_shift;
        }
        any = any || value < A::far();
        tile[i * kLanes + lane_] = value;
      }
      return any;
    }
    // Each row's word stands for a moment where its values go, from where all lanes read it in one go.
    if (lane_ < count) *reinterpret_cast<RowWord*>(tile + lane_ * kLanes) = on_sides(own, one_sided);
    __syncwarp();
    const Value row_weight = opaque(Value(weight_of(a_.units, unit_, a_.last_axis, a_.row_weight)));
    for (int i = 0; i < count; ++i) {
      const RowWord word = *reinterpret_cast<const RowWord*>(tile + i * kLanes);
      __syncwarp();
      Value value;
      if constexpr (A::kWhole && sizeof(Value) == 8) {
        if (a_.key_shift >= 0) {
          value = row_key(word, lane_, x_ >> 5, a_.width, row_weight << a_.squared_shift, a_.row_key_shift);
          if (value < A::far()) value += int64_t(first + i) << a_.key_shift;
        } else {
          value = row_square<A>(word, lane_, int(a_.width), row_weight);
        }
      } else {
        value = row_square<A>(word, lane_, int(a_.width), row_weight);
      }
      any = any || value < A::far();
      tile[i * kLanes + lane_] = value;
    }
    return any;
  }

  // From bits to edges, and the nearest edges outside of each 32 rows. For one warp.
  FASTDIST_DEVICE void link_edges(Outside outside) {
    const int chunks = (a_.length + 31) / 32, n = a_.length;
    const bool labels = a_.label_edges != nullptr;
    const uint32_t end_bit = 1u << (n & 31);
    int nearest = kNoEdgeBefore;
    uint32_t carry = outside.set, last_bit = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int cell = chunk * kLanes + lane_;
      uint32_t edges = tables_.edges(cell);
      if (labels) {
        if (outside.known && chunk == n >> 5) edges |= end_bit;
      } else {
        const uint32_t bits = edges;
        edges ^= bits << 1 | carry;
        carry = bits >> 31;
        last_bit = bits >> ((n - 1) & 31) & 1;
        if (chunk == n >> 5) edges &= ~end_bit;
        if (chunk == n >> 5 && outside.known && last_bit != uint32_t(outside.set)) edges |= end_bit;
        if (chunk == 0 && !outside.known) edges &= ~1u;
      }
      tables_.edges(cell) = edges;
      tables_.before(cell) = nearest;
      if (edges) nearest = chunk * 32 + highest_bit(edges);
    }
    nearest = outside.known && (n & 31) == 0 && (labels || last_bit != uint32_t(outside.set)) ? n : kNoEdgeAfter;
    for (int chunk = chunks - 1; chunk >= 0; --chunk) {
      const int cell = chunk * kLanes + lane_;
      const uint32_t edges = tables_.edges(cell);
      tables_.after(cell) = nearest;
      if (edges) nearest = chunk * 32 + lowest_bit(edges);
    }
  }

  // Sources of rows 0, 8, 16, ..., n - 1. Ends with a barrier.
  FASTDIST_DEVICE void find_anchors(const Column<A, kShared>& column, Value weight) {
    const int anchors = (a_.length + kRun - 1) / kRun + 1;
    int step = 1;
    while (step <= anchors) step *= 2;
    for (step /= 2; step >= 1; step /= 2) {
      int j = step - 1 + 2 * step * warp_;
      int* anchor = &tables_.anchor(j * kLanes + lane_);
      for (; j < anchors; j += 2 * step * warps(), anchor += 2 * step * warps() * kLanes) {
        const int y = j * kRun < a_.length ? j * kRun : a_.length - 1;
        const int lo = j >= step ? anchor[-step * kLanes] : 0;
        const int hi = j + step < anchors ? anchor[step * kLanes] : a_.length - 1;
        *anchor = source_of(column, weight, y, lo, hi);
      }
      __syncthreads();
    }
  }

  FASTDIST_DEVICE void store(const Status& status, int side, int y, const Value* values) {
    if (x_ >= a_.width) return;
    const int left = a_.length - y;
    uint32_t write = left < kRun ? (1u << left) - 1u : 0xffu;
    const int64_t at = voxel(y), step = a_.voxel_step;
    if constexpr (!kFused) {
      Value* out = a_.results[side] + at;
#pragma unroll
      for (int k = 0; k < kRun; ++k, out += step)
        if (write >> k & 1) *out = values[k];
    } else {
      float* out = static_cast<float*>(a_.finish.out) + at;
      const Lengths& lengths = lengths_of(a_.units, unit_);
      if (!is_signed()) {
        const float scale = float(lengths.scale);
#pragma unroll
        for (int k = 0; k < kRun; ++k) {
          float root;
          take_root(values[k], &root);
          root = values[k] < A::far() ? product(root, scale) : infinity_of<float>();
          if (write >> k & 1) *out = root;
          out += step;
        }
        return;
      }
      const uint32_t inside = ~(tables_.not_inside((y >> 5) * kLanes + lane_) >> (y & 31)) & 0xff;
      if (status.split) write &= side == 0 ? ~inside : inside;
      const Signs<float> sign(lengths, a_.finish.clip);
#pragma unroll
      for (int k = 0; k < kRun; ++k) {
        float root;
        take_root(values[k], &root);
        float value = sign(root, inside >> k & 1);
        if (status.split) value = special(status, side, y + k, value);
        if (write >> k & 1) *out = value;
        out += step;
      }
    }
  }

  // Where voxels may be neither inside nor outside.
  FASTDIST_DEVICE float special(const Status& status, int side, int i, float value) const {
    if (i >= a_.length) return value;
    if (side == 0) return is_ignored(i) ? 0.0f : value;
    return status.inside_constant ? float(status.value) : value;
  }

  FASTDIST_DEVICE bool is_ignored(int i) const {
    return a_.units.planes > 1 && (word(0, i).bits & word(1, i).bits) >> lane_ & 1;
  }

  FASTDIST_DEVICE void store_constants(const Status& status) {
    if (x_ >= a_.width) return;
    for (int i = warp_; i < a_.length; i += warps())
      static_cast<float*>(a_.finish.out)[voxel(i)] = is_signed() && is_ignored(i) ? 0.0f : float(status.value);
  }

  const ColumnsArguments<A>& a_;
  int lane_, warp_;
  int unit_, x_;           // of this thread's column
  Value* values_;          // [length][kLanes]
  ColumnTables tables_;
  int64_t first_voxel_;    // row 0 of the column
  int64_t first_word_;     // its word in plane 0
};

template <class A, bool kShared, bool kFused>
FASTDIST_KERNEL FASTDIST_BOUNDS(kColumnThreads, A::kBlocks) void columns(ColumnsArguments<A> a) {
  FASTDIST_SHARED(memory);
  ColumnPass<A, kShared, kFused>(a, memory).run();
}

}  // namespace fastdist::cuda
