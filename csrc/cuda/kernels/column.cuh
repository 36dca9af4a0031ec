// A column of voxels, and what a block keeps of its 32 columns: values, tables of their bits, anchors.
#pragma once

#include "rows.cuh"

namespace fastdist::cuda {

// What the results need beside distances. In shared memory, since registers are dear.
struct alignas(16) Results {
  Signs<float> sign;
  bool split, second, inside_constant;  // as in Status; second: the inside's side of a split transform
  float constant;                       // of voxels inside then
};

// Shared memory of a block: `Results`; values of its rows and of some behind them, far() (relax() takes up to four rows a turn); the
// anchors; and for each 32 rows tables of the columns' bits.
constexpr int kRowsBehind = 3;
template <class A>
FASTDIST_ANYWHERE constexpr int64_t column_value_bytes(int64_t length) {
  return (length + kRowsBehind) * kLanes * int64_t(sizeof(typename A::Value));
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

// What a lane knows of its column's bits, for each 32 rows; and the anchors. One pointer, since registers are dear: the tables of
// 32 rows follow each other from there on, the anchors lie before it.
class ColumnTables {
 public:
  FASTDIST_DEVICE ColumnTables(char* memory, int length, int lane)
      : own_(reinterpret_cast<uint32_t*>(memory) + anchors_of(length) * kLanes + lane) {}
  // Edges between rows of different kind, in the 32 rows around a row.
  FASTDIST_DEVICE uint32_t& edges(int row) const { return own_[(row >> 5) * kTables * kLanes]; }
  // The last edge before these rows, kNoEdgeBefore where there is none, and the first one behind them.
  FASTDIST_DEVICE int& before(int row) const { return reinterpret_cast<int&>(own_[((row >> 5) * kTables + 1) * kLanes]); }
  FASTDIST_DEVICE int& after(int row) const { return reinterpret_cast<int&>(own_[((row >> 5) * kTables + 2) * kLanes]); }
  // Signed maps: the bits of plane 0.
  FASTDIST_DEVICE uint32_t& not_inside(int row) const { return own_[((row >> 5) * kTables + 3) * kLanes]; }
  // The sources of rows 0, 8, 16, ..., n - 1.
  FASTDIST_DEVICE int& anchor(int index) const { return reinterpret_cast<int&>(own_[(-1 - index) * kLanes]); }
  // Before there are anchors: 16 bytes for each of `count` rows from `first` on.
  FASTDIST_DEVICE void* lines(int first, int count, int lane) const { return own_ - lane - (first + count) * 4; }

  static FASTDIST_ANYWHERE constexpr int64_t anchors_of(int64_t length) { return (length + kRun - 1) / kRun + 1; }
  static constexpr int kTables = 4;

 private:
  uint32_t* own_;
};

FASTDIST_ANYWHERE constexpr int64_t column_table_bytes(int64_t length) {
  return ((length + 31) / 32 * ColumnTables::kTables + ColumnTables::anchors_of(length)) * kLanes * 4;
}
template <class A>
FASTDIST_ANYWHERE constexpr int64_t column_bytes(int64_t length) {
  return int64_t(sizeof(Results)) + column_value_bytes<A>(length) + column_table_bytes(length);
}

// A column in shared memory, a lane's.
template <class A, bool kShared>
struct Column {
  using Value = typename A::Value;
  uint32_t address;
  FASTDIST_DEVICE Value operator()(int i) const {
    Value value;
    load_shared(address + uint32_t(i) * uint32_t(kLanes * sizeof(Value)), &value);
    return value;
  }
};

// One in global memory: row i is base[i * step]. Keys get their coordinate on this axis here.
template <class A>
struct Column<A, false> {
  using Value = typename A::Value;
  const Value* base;
  int64_t step, key_step;
  FASTDIST_DEVICE Value operator()(int i) const {
    Value value = base[i * step];
    if constexpr (sizeof(Value) == 8 && A::kWhole) value += Value(i) * key_step;
    return value;
  }
};

}  // namespace fastdist::cuda
