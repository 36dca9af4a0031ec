#include "transform.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace fastdist {

Image::Image(const int64_t* sizes, int dims) : ndim(dims) {
  for (int a = 0; a < dims; ++a) {
    shape[a] = sizes[a];
    voxels *= sizes[a];
  }
  if (dims > 0) width = shape[dims - 1];
  rows = width > 0 ? voxels / width : 0;
  words = words_per_row(width);
}

namespace {

// Outputs above this size are written past the caches, where their lines are not there already: a tile's rows lie a whole
// image row apart, in few sets of the caches. Twice as fast on 2048^2; slower where the last pass works in place.
constexpr int64_t kStreamBytes = 1 << 20;

int64_t size_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kU32 || arithmetic == Arithmetic::kF32 ? 4 : 8;
}

// Bytes that a kernel needs for a tile, its runs and the block minima (kernels/passes.h).
int64_t workspace_bytes(int64_t length, int64_t size, int64_t tiles) { return padded_rows(length) * kTile * size * (2 + tiles) + 64; }

// Tiles of an axis pass that are fetched together: as many as leave the second-level cache room for everything else.
int64_t group_tiles(int64_t length, int64_t size) {
  const int64_t fit = (int64_t(128) << 10) / (padded_rows(length) * kTile * size);
  return fit < 1 ? 1 : fit > 16 ? 16 : fit;
}

// w d^2 for every distance that a column pass can ask for.
class CostTable {
 public:
  CostTable(Arithmetic arithmetic, int64_t length, double weight) : memory_((padded_rows(length) + kBlock) * 8) {
    const int64_t count = padded_rows(length) + kBlock;
    for (int64_t d = 0; d < count; ++d) {
      switch (arithmetic) {
        case Arithmetic::kU32: memory_.as<uint32_t>()[d] = uint32_t(weight) * uint32_t(d) * uint32_t(d); break;
        case Arithmetic::kU64: memory_.as<uint64_t>()[d] = uint64_t(weight) * uint64_t(d) * uint64_t(d); break;
        case Arithmetic::kF32: memory_.as<float>()[d] = float(weight * double(d) * double(d)); break;
        case Arithmetic::kF64: memory_.as<double>()[d] = weight * double(d) * double(d); break;
      }
    }
  }
  const void* data() const { return memory_.as<void>(); }

 private:
  Buffer memory_;
};

// Edges within the rows, from class bits: bit x is set where voxels x - 1 and x differ. Outside counts as clear.
void row_edges(const uint64_t* bits, int64_t width, int64_t words, bool border, uint64_t* edges) {
  uint64_t carry = 0;
  for (int64_t w = 0; w < words; ++w) {
    edges[w] = bits[w] ^ (bits[w] << 1 | carry);
    carry = bits[w] >> 63;
  }
  if (border) return;
  edges[0] &= ~uint64_t(1);
  edges[width >> 6] &= ~(uint64_t(1) << (width & 63));
}

void neighbours_of(const uint64_t* edges, int64_t words, Neighbours* neighbours) {
  int64_t before = kNoneBefore, after = kNoneAfter;
  for (int64_t w = 0; w < words; ++w) {
    neighbours[w].before = before;
    if (edges[w]) before = w * 64 + 63 - __builtin_clzll(edges[w]);
  }
  for (int64_t w = words - 1; w >= 0; --w) {
    neighbours[w].after = after;
    if (edges[w]) after = w * 64 + __builtin_ctzll(edges[w]);
  }
}

// Shifts a row of bits up by one place.
void shift_up(uint64_t* bits, int64_t words) {
  uint64_t carry = 0;
  for (int64_t w = 0; w < words; ++w) {
    const uint64_t next = bits[w] >> 63;
    bits[w] = bits[w] << 1 | carry;
    carry = next;
  }
}

class Transform {
 public:
  Transform(const Image& image, const Metric& metric, const Sources& sources, const Result& result, Threads threads)
      : image_(image), metric_(metric), sources_(sources), result_(result), threads_(threads.for_voxels(image.voxels)),
        arithmetic_(metric.arithmetic), size_(size_of(arithmetic_)) {
    height_ = image.ndim >= 2 ? image.shape[image.ndim - 2] : 1;
    planes_ = image.rows / height_;
    two_sided_ = !sources.one_sided;
  }

  bool run() {
    Buffer scratch;
    void* squares = nullptr;  // between passes
    if (image_.ndim >= 3) {
      const int64_t out_size = result_.finish == Finish::kMapF32 ? 4 : 8;
      const bool same = result_.finish == Finish::kStore || out_size == size_;
      if (same && result_.out_is_scratch) {
        squares = result_.out;
      } else {
        scratch.reserve(image_.voxels * size_);
        squares = scratch.as<void>();
      }
    }
    plane_passes(squares);
    for (int axis = image_.ndim - 3; axis >= 0; --axis) axis_pass(axis, squares);
    return !sources_.labels || any_edge_.load();
  }

 private:
  Sink sink(bool last, void* squares, int64_t first_voxel) const {
    const Finish finish = last ? result_.finish : Finish::kStore;
    void* out = last ? result_.out : squares;
    const int64_t size = finish == Finish::kMapF32 ? 4 : finish == Finish::kMapF64 ? 8 : size_;
    out = static_cast<char*>(out) + first_voxel * size;
    const bool stream = last && result_.out != squares && image_.voxels * size > kStreamBytes;
    return {finish, out, result_.epilogue, stream};
  }

  // Edges of rows [begin, end) of one plane; `edges_y` has height + 1 rows and is null where it is not needed. Returns
  // whether there is any.
  bool edges_of_rows(int64_t plane, int64_t begin, int64_t end, uint64_t* edges_x, Neighbours* neighbours,
                     uint64_t* edges_y) {
    const int64_t words = image_.words, width = image_.width;
    bool any = false;
    for (int64_t y = begin; y < end; ++y) {
      uint64_t* row = edges_x + y * words;
      const int64_t at = plane * height_ + y;
      if (sources_.labels) {
        const char* labels = label_at(at * width);
        kernels().pack_differ(labels + element_bytes(sources_.label_type), labels, sources_.label_type, width - 1, row);
        if (words_per_row(width - 1) < words) row[words - 1] = 0;
        shift_up(row, words);
        if (sources_.border) {
          row[0] |= 1;
          row[width >> 6] |= uint64_t(1) << (width & 63);
        }
      } else {
        row_edges(sources_.foreground + at * words, width, words, sources_.border, row);
      }
      for (int64_t w = 0; w < words; ++w) any = any || row[w];
      neighbours_of(row, words, neighbours + y * words);
      if (!edges_y) continue;
      any = edges_between(at - 1, at, y == 0, false, edges_y + y * words) || any;
      if (y == height_ - 1) any = edges_between(at, at, false, true, edges_y + height_ * words) || any;
    }
    if (any) any_edge_.store(true, std::memory_order_relaxed);
    return any;
  }

  // Edges between two rows of voxels; at the first and behind the last row of an axis the border decides. Returns whether
  // there may be any.
  bool edges_between(int64_t row, int64_t next, bool at_begin, bool at_end, uint64_t* edges) {
    const int64_t words = image_.words, width = image_.width;
    if (at_begin || at_end) {
      if (!sources_.border) std::memset(edges, 0, size_t(words) * 8);
      else if (sources_.labels) std::memset(edges, 0xff, size_t(words) * 8);
      else std::memcpy(edges, sources_.foreground + next * words, size_t(words) * 8);
      return sources_.border;
    }
    if (sources_.labels)
      return kernels().pack_differ(label_at(row * width), label_at(next * width), sources_.label_type, width, edges) != 0;
    const uint64_t* a = sources_.foreground + row * words;
    const uint64_t* b = sources_.foreground + next * words;
    uint64_t any = 0;
    for (int64_t w = 0; w < words; ++w) any |= edges[w] = a[w] ^ b[w];
    return any != 0;
  }

  const char* label_at(int64_t voxel) const {
    return static_cast<const char*>(sources_.labels) + voxel * element_bytes(sources_.label_type);
  }

  // A one-sided transform finds its sources through their zero distance; only a border needs to be told.
  bool column_edges() const { return two_sided_ || sources_.border; }

  struct PlaneEdges {
    Buffer x, y, neighbours;
    PlaneEdges(int64_t height, int64_t words)
        : x(height * words * 8), y((height + 1) * words * 8), neighbours(height * words * int64_t(sizeof(Neighbours))) {}
  };

  // The four tiles of a word share its neighbours; fewer where they would crowd the second-level cache.
  int plane_group() const {
    const int64_t tile = padded_rows(height_) * kTile * size_;
    return tile * 4 <= (512 << 10) ? 4 : tile * 2 <= (512 << 10) ? 2 : 1;
  }

  PlanePass plane_pass(int64_t plane, const PlaneEdges& edges, const CostTable& cost) const {
    const int x = image_.ndim > 0 ? image_.ndim - 1 : 0;
    PlanePass pass{};
    pass.width = image_.width;
    pass.height = height_;
    pass.edges_x = edges.x.as<uint64_t>();
    pass.neighbours = edges.neighbours.as<Neighbours>();
    pass.edges_y = column_edges() ? edges.y.as<uint64_t>() : nullptr;
    pass.foreground = two_sided_ ? nullptr : sources_.foreground + plane * height_ * image_.words;
    pass.spacing_x = metric_.spacing[x];
    pass.weight_x = metric_.weight[x];
    pass.cost = cost.data();
    pass.one_row = image_.ndim < 2;
    pass.first_row = plane * height_;
    pass.group = plane_group();
    return pass;
  }

  // "No source yet" (kFar of kernels/columns.h).
  void fill_far(void* squares, int64_t begin, int64_t count) const {
    switch (arithmetic_) {
      case Arithmetic::kU32: std::fill_n(static_cast<uint32_t*>(squares) + begin, count, uint32_t(1) << 31); break;
      case Arithmetic::kU64: std::fill_n(static_cast<uint64_t*>(squares) + begin, count, uint64_t(1) << 62); break;
      case Arithmetic::kF32: std::fill_n(static_cast<float*>(squares) + begin, count, HUGE_VALF); break;
      case Arithmetic::kF64: std::fill_n(static_cast<double*>(squares) + begin, count, HUGE_VAL); break;
    }
  }

  void plane_passes(void* squares) {
    const bool last = image_.ndim < 3;
    const int group = plane_group();
    const int64_t groups = (image_.width + group * kTile - 1) / (group * kTile);
    const CostTable cost(arithmetic_, height_, image_.ndim >= 2 ? metric_.weight[image_.ndim - 2] : 1.0);
    const auto kernel = kernels().plane[int(arithmetic_)];
    const int64_t bytes = workspace_bytes(height_, size_, group);
    auto run_plane = [&](int64_t plane, PlaneEdges& edges, Threads threads) {
      std::atomic<bool> any{false};
      threads.loop(height_, threads.grain(height_), [&](int64_t begin, int64_t end) {
        if (edges_of_rows(plane, begin, end, edges.x.as<uint64_t>(), edges.neighbours.as<Neighbours>(),
                          column_edges() ? edges.y.as<uint64_t>() : nullptr))
          any.store(true, std::memory_order_relaxed);
      });
      if (two_sided_ && !last && !any.load()) {  // one label everywhere: most slices of a sparse volume
        fill_far(squares, plane * height_ * image_.width, height_ * image_.width);
        return;
      }
      const PlanePass pass = plane_pass(plane, edges, cost);
      const Sink to = sink(last, squares, plane * height_ * image_.width);
      threads.loop(groups, threads.grain(groups), [&](int64_t begin, int64_t end) {
        Buffer workspace(bytes);
        kernel(pass, to, begin, end, workspace.as<void>());
      });
    };
    if (planes_ >= 2 * threads_.count) {
      threads_.loop(planes_, threads_.grain(planes_), [&](int64_t begin, int64_t end) {
        PlaneEdges edges(height_, image_.words);
        for (int64_t plane = begin; plane < end; ++plane) run_plane(plane, edges, Threads{1});
      });
    } else {
      PlaneEdges edges(height_, image_.words);
      for (int64_t plane = 0; plane < planes_; ++plane) run_plane(plane, edges, threads_);
    }
  }

  void axis_pass(int axis, void* squares) {
    int64_t outer = 1, inner_rows = 1;
    for (int a = 0; a < axis; ++a) outer *= image_.shape[a];
    for (int a = axis + 1; a < image_.ndim - 1; ++a) inner_rows *= image_.shape[a];
    const int64_t length = image_.shape[axis], words = image_.words;
    const int64_t block_rows = length * inner_rows, block_voxels = block_rows * image_.width;
    const CostTable cost(arithmetic_, length, metric_.weight[axis]);
    Buffer edges;
    if (column_edges()) edges.reserve((length + 1) * inner_rows * words * 8);
    const auto kernel = kernels().axis[int(arithmetic_)];
    const int64_t group = group_tiles(length, size_);
    const int64_t groups = inner_rows * ((image_.width + group * kTile - 1) / (group * kTile));
    for (int64_t block = 0; block < outer; ++block) {
      const int64_t first_row = block * block_rows;
      if (column_edges()) {
        threads_.loop(length + 1, threads_.grain(length + 1), [&](int64_t begin, int64_t end) {
          bool any = false;
          for (int64_t z = begin; z < end; ++z)
            for (int64_t r = 0; r < inner_rows; ++r) {
              const int64_t next = first_row + (z == length ? z - 1 : z) * inner_rows + r;
              const int64_t row = z == length ? next : next - inner_rows;
              any = edges_between(row, next, z == 0, z == length, edges.as<uint64_t>() + (z * inner_rows + r) * words) || any;
            }
          if (any) any_edge_.store(true, std::memory_order_relaxed);
        });
      }
      AxisPass pass{};
      pass.width = image_.width;
      pass.rows = inner_rows;
      pass.length = length;
      pass.words = words;
      pass.edges = column_edges() ? edges.as<uint64_t>() : nullptr;
      pass.source = static_cast<char*>(squares) + block * block_voxels * size_;
      pass.cost = cost.data();
      pass.first_row = first_row;
      pass.group = int(group);
      const Sink to = sink(axis == 0, squares, block * block_voxels);
      threads_.loop(groups, threads_.grain(groups), [&](int64_t begin, int64_t end) {
        Buffer workspace(workspace_bytes(length, size_, group));
        kernel(pass, to, begin, end, workspace.as<void>());
      });
    }
  }

  const Image& image_;
  const Metric& metric_;
  const Sources& sources_;
  const Result& result_;
  Threads threads_;
  Arithmetic arithmetic_;
  int64_t size_, height_, planes_;
  bool two_sided_;
  std::atomic<bool> any_edge_{false};
};

}  // namespace

bool transform(const Image& image, const Metric& metric, const Sources& sources, const Result& result, Threads threads) {
  if (image.voxels == 0) return true;
  return Transform(image, metric, sources, result, threads).run();
}

}  // namespace fastdist
