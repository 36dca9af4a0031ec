// The launches of a transform in one arithmetic. Included by the passes_*.cu, which are compiled side by side.
#pragma once

#include <algorithm>

#include "passes.h"

namespace fastdist::cuda {

template <class A>
class PassRunner {
 public:
  using Value = typename A::Value;

  PassRunner(const Passes& passes, const Context& context)
      : passes_(passes), image_(passes.image), context_(context), device_(current_device()),
        sides_(passes.of_unit.kind == Kind::kSigned && passes.of_unit.planes > 1 ? 2 : 1) {}

  void run() {
    bool all_fit = true;
    for (int axis = 0; axis + 1 < image_.ndim; ++axis) all_fit = all_fit && fits(image_.shape[axis]);
    // Squared distances may stand in the output until they are finished, but only where each block reads what it overwrites.
    const int64_t out_bytes = passes_.keys ? 0 : element_bytes(passes_.finish.type);
    out_is_scratch_ = all_fit && out_bytes == int64_t(sizeof(Value));
    const bool fused = kCanFuse && passes_.finish.type == Element::kF32 && !passes_.finish.squared && image_.ndim > 1 &&
                       fits(image_.shape[0]);
    const bool rows_apart = image_.ndim == 1 || !fits(image_.shape[image_.ndim - 2]);
    if (rows_apart) rows();
    for (int axis = image_.ndim - 2; axis >= 0; --axis)
      columns_along(axis, axis == image_.ndim - 2 && !rows_apart, axis == 0 && fused);
    if (!fused) finish();
  }

 private:
  static constexpr bool kCanFuse = sizeof(Value) == 4;
  bool fits(int64_t length) const { return column_bytes<A>(length) <= device_.shared_bytes; }

  Value* new_buffer(int side) {
    if (side == 0 && out_is_scratch_) return static_cast<Value*>(passes_.finish.out);
    return context_.array<Value>(passes_.units * image_.voxels);
  }

  int squared_shift() const { return passes_.keys ? passes_.finish.squared_shift : 0; }
  int key_shift(int axis) const { return passes_.keys ? passes_.finish.shift[axis] : -1; }

  void rows() {
    const int x = image_.ndim - 1;
    RowsArguments<A> a{};
    a.units = passes_.of_unit;
    a.planes = passes_.planes;
    a.rows = image_.rows;
    a.width = image_.width;
    a.words = image_.words;
    a.weight = passes_.weight[x];
    a.axis = x;
    a.one_sided = passes_.one_sided;
    const int64_t warps = kRowThreads / 32, plane = image_.rows * image_.words;
    a.blocks_per_unit = std::min<int64_t>((plane + warps - 1) / warps, 1 << 14);
    a.squared_shift = squared_shift();
    a.key_shift = key_shift(x);
    for (int side = 0; side < sides_; ++side) a.results[side] = squares_[side] = new_buffer(side);
    launch("rows", fastdist::cuda::rows<A>, Grid{passes_.units * a.blocks_per_unit, kRowThreads}, context_.stream, a);
  }

  void columns_along(int axis, bool from_rows, bool fused) {
    const int64_t length = image_.shape[axis];
    const bool shared = fits(length);
    ColumnsArguments<A> a{};
    a.units = passes_.of_unit;
    a.finish = passes_.finish;
    a.planes = passes_.planes;
    if (passes_.label_edges) a.label_edges = passes_.label_edges + axis * passes_.units * image_.rows * image_.words;
    a.rows = image_.rows;
    a.width = image_.width;
    a.words = image_.words;
    a.length = int(length);
    int64_t row_step = 1;
    for (int inner = axis + 1; inner + 1 < image_.ndim; ++inner) row_step *= image_.shape[inner];
    const int64_t outer = image_.rows / (length * row_step);
    a.by_words = divisor_of(image_.words);
    a.by_row_step = divisor_of(row_step);
    a.by_outer = divisor_of(outer);
    a.voxel_step = row_step * image_.width;
    a.word_step = row_step * image_.words;
    a.axis = axis;
    a.last_axis = image_.ndim - 1;
    a.weight = passes_.weight[a.axis];
    a.row_weight = passes_.weight[a.last_axis];
    a.one_sided = passes_.one_sided;
    a.squared_shift = squared_shift();
    a.key_shift = key_shift(axis);
    a.row_key_shift = key_shift(a.last_axis);
    for (int side = 0; side < sides_; ++side) {
      a.sources[side] = from_rows ? nullptr : squares_[side];
      if (fused) continue;
      // A column in shared memory is overwritten by the block that has read it; others go elsewhere.
      if (from_rows || !shared) squares_[side] = new_buffer(side);
      a.results[side] = squares_[side];
    }
    const int64_t blocks = passes_.units * outer * row_step * image_.words;
    Grid grid{blocks, 32 * warps(length, blocks), 0};
    if (shared) {
      grid.shared_bytes = column_bytes<A>(length);
    } else {
      grid.shared_bytes = sizeof(Results);
      a.workspace = context_.array<char>(grid.blocks * column_table_bytes(length));
    }
    if constexpr (kCanFuse) {
      if (fused) return launch("columns", columns<A, true, true>, grid, context_.stream, a);
    }
    if (shared) launch("columns", columns<A, true, false>, grid, context_.stream, a);
    else launch("columns in global memory", columns<A, false, false>, grid, context_.stream, a);
  }

  void finish() {
    FinishArguments<A> a{};
    a.units = passes_.of_unit;
    a.finish = passes_.finish;
    a.planes = passes_.planes;
    a.rows = image_.rows;
    a.width = image_.width;
    a.words = image_.words;
    a.blocks_per_unit = std::clamp<int64_t>(image_.voxels / (kFinishThreads * 4), 1, 1 << 14);
    for (int side = 0; side < sides_; ++side) a.squares[side] = squares_[side];
    a.keys = passes_.keys;
    launch("finish", fastdist::cuda::finish<A>, Grid{passes_.units * a.blocks_per_unit, kFinishThreads}, context_.stream, a);
  }

  // Of 32 rows each, as many as one loads in a turn: what a warp does once is shared by many. Where blocks are few it is time that
  // counts: one for each run of 16 rows.
  int warps(int64_t length, int64_t blocks) const {
    const int64_t rows = blocks >= 4 * device_.multiprocessors ? 32 : kPairRun;
    return int(std::min<int64_t>((length + rows - 1) / rows, kColumnThreads / 32));
  }

  const Passes& passes_;
  const Image& image_;
  const Context& context_;
  const Device device_;
  const int sides_;
  bool out_is_scratch_ = false;
  Value* squares_[2] = {};
};

template <class A>
void run_passes_in(const Passes& passes, const Context& context) {
  PassRunner<A>(passes, context).run();
}

}  // namespace fastdist::cuda
