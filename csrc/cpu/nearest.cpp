// The nearest zero of every voxel: its distance and its coordinates.
//
// Axis by axis from the first to the last, each pass remembering which row served (kernels/sites.h). Of equally near sources
// the last pass takes the one with the smallest coordinate on the last axis, since its sums are told apart by their row; given
// that, the pass before it took the smallest on the axis before; and so on. That is SciPy's rule.
//
// After the first axis the planes are independent of each other. They are taken a chunk at a time through all other axes, so
// that what stands in memory for the whole image is the first axis' rows, two bytes a voxel, beside a bit for each.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../core/whole_steps.h"
#include "edt.h"

namespace fastdist {

namespace {

// Voxels of a chunk: its sums and rows, 12 bytes a voxel at the most, stay in the second-level cache.
constexpr int64_t kChunk = 32768;
// Planes are interleaved where the last axis is thin, so that the lines of a tile would come from here and there and have little in
// common, unless 16 planes would leave the cache.
constexpr int64_t kThin = 32, kMostInterleaved = 9216;

// Interleaved planes: outputs above this size are written past the caches. Elsewhere that is slower, in 3-D by a fifth.
constexpr int64_t kStreamBytes = 1 << 20;

int64_t row_bytes(RowType type) { return type == RowType::k16 ? 2 : type == RowType::k32 ? 4 : 8; }

// Axes of one voxel are left out: they have nothing to search. There are two at least.
struct Axes {
  int ndim = 0;
  int64_t length[kMaxDims];
  double spacing[kMaxDims];
  int number[kMaxDims];  // in the image; -1 where it is none of it

  Axes(const std::vector<int64_t>& shape, const double* h) {
    for (int a = 0; a < int(shape.size()); ++a)
      if (shape[size_t(a)] != 1) add(shape[size_t(a)], h[a], a);
    while (ndim < 2) add(1, 1.0, -1);
  }
  int64_t plane() const {
    int64_t voxels = 1;
    for (int a = 1; a < ndim; ++a) voxels *= length[a];
    return voxels;
  }
  int64_t longest(int first) const { return *std::max_element(length + first, length + ndim); }

 private:
  void add(int64_t n, double h, int a) {
    length[ndim] = n;
    spacing[ndim] = h;
    number[ndim++] = a;
  }
};

// Among which numbers the sums are, and what their units are.
struct Choice {
  Sum sum = Sum::kPair;
  int bits = 0;
  double scale = 1;
  double step[kMaxDims], weight[kMaxDims];  // of each axis, in units; squared

  explicit Choice(const Axes& axes) {
    while (std::ldexp(1.0, bits) < double(axes.longest(1))) ++bits;
    const Metric metric = make_metric(axes.length, axes.spacing, axes.ndim, true);
    const bool multiples = metric.arithmetic == Arithmetic::kU32 || metric.arithmetic == Arithmetic::kU64;
    double whole[kMaxDims], unit = 1;
    const bool commensurable = whole_steps(axes.spacing, axes.ndim, whole, &unit);
    for (const auto& [kind, room] : {std::pair{Sum::kU32, 0x1p31}, std::pair{Sum::kF64, 0x1p51}, std::pair{Sum::kU64, 0x1p61}}) {
      if (multiples && take(axes, metric.spacing, metric.scale, kind, room)) return;
      if (commensurable && take(axes, whole, unit, kind, room)) return;
    }
    take(axes, axes.spacing, 1.0, Sum::kPair, HUGE_VAL);
  }

 private:
  bool take(const Axes& axes, const double* steps, double unit, Sum kind, double room) {
    for (int a = 0; a < axes.ndim; ++a) weight[a] = steps[a] * steps[a];
    if (!(std::ldexp(squared_reach(axes.length, weight, axes.ndim) + 1, bits) <= room)) return false;
    std::copy_n(steps, axes.ndim, step);
    sum = kind;
    scale = unit;
    return true;
  }
};

class Nearest {
 public:
  Nearest(const Axes& axes, const NearestOutput& out, Threads threads)
      : axes_(axes), choice_(axes), out_(out), threads_(threads), plane_(axes.plane()), voxels_(plane_ * axes.length[0]) {
    const int64_t groups = (axes.length[0] + kTile - 1) / kTile;
    interleaved_ = plane_ > 1 && plane_ <= kMostInterleaved && axes.length[axes.ndim - 1] <= kThin &&
                   groups * kTile * 4 <= axes.length[0] * 5;
    const int64_t longest = axes.longest(0);
    row_type_ = longest <= 1 << 14 ? RowType::k16 : longest <= int64_t(1) << 30 ? RowType::k32 : RowType::k64;
    out_.scale = choice_.scale;
  }

  void run(const uint64_t* set) {
    const int64_t lanes = interleaved_ ? kTile : 1;
    first_rows_.reserve(((axes_.length[0] + lanes - 1) / lanes * lanes * plane_ + kTile) * row_bytes(row_type_));
    first_axis(set);
    std::vector<Buffer> costs(size_t(axes_.ndim));
    for (int a = 1; a < axes_.ndim; ++a) fill_costs(a, &costs[size_t(a)]);
    const int64_t planes = planes_of_chunk(), chunks = (axes_.length[0] + planes - 1) / planes;
    const auto run_chunks = [&](int64_t begin, int64_t end, Threads threads) {
      const int64_t elements = planes * plane_ + kTile * kTile;
      Buffer values(elements * (interleaved_ ? 16 : 8)), rows(elements * row_bytes(row_type_) * (axes_.ndim - 1));
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const int64_t first = chunk * planes, left = axes_.length[0] - first;
        run_chunk(first, left < planes ? left : planes, costs, values.as<void>(), rows.as<char>(), threads);
      }
    };
    if (chunks >= 2 * threads_.count) {
      threads_.loop(chunks, 1, [&](int64_t begin, int64_t end) { run_chunks(begin, end, Threads{1}); });
    } else {
      run_chunks(0, chunks, threads_);
    }
  }

 private:
  void first_axis(const uint64_t* set) {
    if (plane_ == 1) {
      if (row_type_ == RowType::k16) return along_line<int16_t>(set);
      if (row_type_ == RowType::k32) return along_line<int32_t>(set);
      return along_line<int64_t>(set);
    }
    SitePass pass{};
    pass.length = axes_.length[0];
    pass.inner = plane_;
    pass.set = set;
    pass.words = words_per_row(plane_);
    pass.lanes = interleaved_ ? kTile : 1;
    pass.rows = first_rows_.as<void>();
    const int64_t columns = (plane_ + 63) / 64;
    threads_.loop(columns, threads_.grain(columns), [&](int64_t begin, int64_t end) {
      Buffer workspace(pass.length * 64 * row_bytes(row_type_));
      kernels().sweep[int(row_type_)](pass, begin, end, workspace.as<void>());
    });
  }

  // An image of one axis: its bits are one row.
  template <class Row>
  void along_line(const uint64_t* set) {
    Row* rows = first_rows_.as<Row>();
    const int64_t length = axes_.length[0];
    const auto is_source = [set](int64_t x) { return !(set[x >> 6] >> (x & 63) & 1); };
    int64_t before = -1;
    for (int64_t x = 0; x < length; ++x) {
      if (is_source(x)) before = x;
      rows[x] = Row(before);
    }
    int64_t behind = -1;
    for (int64_t x = length - 1; x >= 0; --x) {
      if (is_source(x)) behind = x;
      if (rows[x] < 0 || (behind >= 0 && behind - x < x - rows[x])) rows[x] = Row(behind);
    }
  }

  // w d^2, as the sums of an axis need it, for every distance that a pass can ask for, to both sides.
  void fill_costs(int axis, Buffer* memory) const {
    const int64_t most = most_apart(axis);
    memory->reserve((2 * most + 1) * 8);
    const double weight = choice_.weight[axis];
    for (int64_t i = 0; i <= 2 * most; ++i) {
      const int64_t d = i < most ? most - i : i - most;
      const double apart = double(d) * choice_.step[axis];
      switch (choice_.sum) {
        case Sum::kU32: memory->as<uint32_t>()[i] = uint32_t(weight) * uint32_t(d) * uint32_t(d) << choice_.bits; break;
        case Sum::kU64: memory->as<uint64_t>()[i] = uint64_t(weight) * uint64_t(d) * uint64_t(d) << choice_.bits; break;
        case Sum::kF64: memory->as<double>()[i] = std::ldexp(weight * double(d) * double(d), choice_.bits); break;
        case Sum::kPair: memory->as<double>()[i] = apart * apart; break;
      }
    }
  }
  int64_t most_apart(int axis) const { return padded_rows(axes_.length[axis]) + kBlock; }

  // Planes that make a chunk: enough to fill the tiles of every pass.
  int64_t planes_of_chunk() const {
    if (interleaved_) return kTile;
    const int64_t lines = plane_ / axes_.longest(1);
    int64_t planes = std::max<int64_t>(1, kChunk / plane_);
    if (lines < kTile) planes = (std::max(planes, kTile / lines) + kTile - 1) / kTile * kTile;
    return std::clamp<int64_t>(planes, 1, axes_.length[0]);
  }

  void run_chunk(int64_t first, int64_t planes, const std::vector<Buffer>& costs, void* values, char* rows, Threads threads) const {
    const int lanes = interleaved_ ? kTile : 1;
    const int64_t voxels = (interleaved_ ? kTile : planes) * plane_, bytes = row_bytes(row_type_), apart = voxels + kTile * kTile;
    const char* first_rows = first_rows_.as<char>() + first * plane_ * bytes;
    SiteFinish finish{};
    finish.ndim = axes_.ndim;
    int64_t inner = plane_ * lanes;
    for (int a = 0; a < axes_.ndim; ++a) {
      const int64_t length = a == 0 ? planes : axes_.length[a];
      if (a > 0) inner /= length;
      finish.length[a] = length;
      finish.step[a] = inner;
      finish.axis[a] = axes_.number[a];
      finish.rows[a] = a == 0 ? first_rows : rows + (a - 1) * apart * bytes;
      if (a == 0) continue;
      SitePass pass{};
      pass.length = length;
      pass.inner = inner;
      pass.lines = voxels / length;
      pass.first_plane = first;
      pass.plane = interleaved_ ? 1 : plane_;
      pass.planes = interleaved_ ? kTile : planes;
      pass.lanes = lanes;
      pass.voxels_of_plane = plane_;
      if (interleaved_ && a == axes_.ndim - 1) pass.separated = static_cast<char*>(values) + apart * 8;
      pass.first = a == 1 ? first_rows : nullptr;
      pass.first_step = choice_.step[0];
      pass.first_weight = std::ldexp(choice_.weight[0], choice_.bits);
      pass.values = values;
      pass.rows = rows + (a - 1) * apart * bytes;
      pass.cost = costs[size_t(a)].as<char>() + most_apart(a) * (choice_.sum == Sum::kU32 ? 4 : 8);
      pass.bits = choice_.bits;
      pass.last = a == axes_.ndim - 1;
      const int64_t tiles = (pass.lines + kTile - 1) / kTile;
      threads.loop(tiles, threads.grain(tiles), [&](int64_t begin, int64_t end) {
        Buffer workspace(kSiteTiles * padded_rows(length) * kTile * 8);
        kernels().site_pass[int(choice_.sum)][int(row_type_)](pass, begin, end, workspace.as<void>());
      });
    }
    finish.values = interleaved_ ? static_cast<char*>(values) + apart * 8 : values;
    finish.bits = choice_.bits;
    finish.unshift = std::ldexp(1.0, -choice_.bits);
    finish.small = voxels < int64_t(1) << 31;
    finish.first_voxel = first * plane_;
    finish.out = &out_;
    finish.stream = interleaved_ && voxels_ * 8 > kStreamBytes;
    finish.lanes = lanes;
    finish.planes = int(planes);
    finish.plane = plane_;
    finish.voxels_of_part = finish.length[axes_.ndim - 1] * (interleaved_ && axes_.ndim == 2 ? 1 : finish.length[axes_.ndim - 2]);
    const int64_t parts_of_part = (finish.voxels_of_part + kSitePart - 1) / kSitePart;
    const int64_t parts = planes * plane_ / finish.voxels_of_part * parts_of_part;
    threads.loop(parts, threads.grain(parts), [&](int64_t begin, int64_t end) {
      kernels().site_finish[int(choice_.sum)][int(row_type_)](finish, begin, end);
    });
  }

  const Axes& axes_;
  const Choice choice_;
  NearestOutput out_;
  const Threads threads_;
  const int64_t plane_, voxels_;
  RowType row_type_;
  bool interleaved_;
  Buffer first_rows_;
};

void fill_coordinate(const NearestOutput& out, int axis, int64_t voxels, int64_t value) {
  if (out.wide) std::fill_n(static_cast<int64_t*>(out.indices) + axis * out.axis_stride, voxels, value);
  else std::fill_n(static_cast<int32_t*>(out.indices) + axis * out.axis_stride, voxels, int32_t(value));
}

}  // namespace

void nearest_sources(const std::vector<int64_t>& shape, const double* spacing, const void* voxels, Element type,
                     const NearestOutput& out, Threads threads) {
  const Axes axes(shape, spacing);
  const int64_t plane = axes.plane(), count = plane * axes.length[0];
  const int64_t sizes[2] = {plane == 1 ? 1 : axes.length[0], plane == 1 ? axes.length[0] : plane};
  const Image planes(sizes, 2);
  const Threads here = threads.for_voxels(count);
  Buffer set(planes.bit_words() * 8);
  const bool none = pack_rows(planes, voxels, type, Predicate::kNonzero, set.as<uint64_t>(), here) == count;
  for (int a = 0; a < int(shape.size()); ++a)
    if (none || shape[size_t(a)] == 1) fill_coordinate(out, a, count, none ? -1 : 0);
  if (none) fill_unreachable(out.distances, out.distance_type, count);
  else Nearest(axes, out, here).run(set.as<uint64_t>());
}

}  // namespace fastdist
