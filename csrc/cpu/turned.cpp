#include "turned.h"

namespace fastdist {

namespace {

// Nanoseconds a voxel, of signed maps on one core with AVX-512: 3 for a lane of a tile, used or not, 16 for a row, and for the
// copies there and back. Measured on 160 x 192 x (4 to 96); only their proportions matter.
constexpr double kLane = 3, kRow = 16, kCopies = 1.3;

double cost(int64_t width) {
  const int64_t lanes = (width + kTile - 1) / kTile * kTile;
  return (kLane * double(lanes) + kRow) / double(width);
}

bool worthwhile(const std::vector<int64_t>& shape) {
  const size_t ndim = shape.size();
  if (ndim < 2 || shape[ndim - 1] < 1 || shape[ndim - 2] < 1) return false;
  return cost(shape[ndim - 2]) + kCopies < cost(shape[ndim - 1]);
}

std::vector<int64_t> last_first(std::vector<int64_t> shape, bool turned) {
  if (turned) {
    shape.insert(shape.begin(), shape.back());
    shape.pop_back();
  }
  return shape;
}

// to[x][y] = from[y][x], rows begin..end - 1 of `from`; or, kBack, to[y][x] = from[x][y].
template <bool kBack, class T>
void transpose(const T* from, int64_t rows, int64_t width, int64_t begin, int64_t end, T* to) {
  constexpr int64_t kBlock = 64;  // rows whose elements stay in the first-level cache
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t last = first + kBlock < end ? first + kBlock : end;
    for (int64_t x = 0; x < width; ++x)
      for (int64_t y = first; y < last; ++y) {
        if constexpr (kBack) to[y * width + x] = from[x * rows + y];
        else to[x * rows + y] = from[y * width + x];
      }
  }
}

template <bool kBack>
void transpose(const void* from, int64_t rows, int64_t width, int64_t bytes, void* to, Threads threads) {
  const auto as = [&](auto element) {
    using T = decltype(element);
    threads.loop(rows, threads.grain(rows), [&](int64_t begin, int64_t end) {
      transpose<kBack>(static_cast<const T*>(from), rows, width, begin, end, static_cast<T*>(to));
    });
  };
  switch (bytes) {
    case 1: return as(uint8_t());
    case 2: return as(uint16_t());
    case 4: return as(uint32_t());
    default: return as(uint64_t());
  }
}

}  // namespace

Turned::Turned(const std::vector<int64_t>& shape)
    : turned_(worthwhile(shape)), image_(last_first(shape, turned_).data(), int(shape.size())) {}

Metric Turned::metric(const double* spacing, bool float64) const {
  double steps[kMaxDims];
  for (int a = 0; a < image_.ndim; ++a) steps[a] = spacing[turned_ ? (a + image_.ndim - 1) % image_.ndim : a];
  return make_metric(image_.shape, steps, image_.ndim, float64);
}

// The last axis, `width` as it is given, is the first one of image().
void Turned::turn(const void* given, int64_t element_bytes, void* to, Threads threads) const {
  const int64_t width = image_.shape[0];
  transpose<false>(given, image_.voxels / width, width, element_bytes, to, threads);
}

void Turned::turn_back(const void* from, int64_t element_bytes, void* given, Threads threads) const {
  const int64_t width = image_.shape[0];
  transpose<true>(from, image_.voxels / width, width, element_bytes, given, threads);
}

TurnedCopy::TurnedCopy(const Turned& turned, const void* given, int64_t element_bytes, Threads threads) : data_(given) {
  if (!turned) return;
  copy_.reserve(turned.image().voxels * element_bytes);
  turned.turn(given, element_bytes, copy_.as<void>(), threads);
  data_ = copy_.as<void>();
}

TurnedResult::TurnedResult(const Turned& turned, bool same_everywhere, int64_t element_bytes, void* given)
    : turned_(turned), element_bytes_(element_bytes), given_(given), data_(given) {
  if (!turned || same_everywhere) return;
  own_.reserve(turned.image().voxels * element_bytes);
  data_ = own_.as<void>();
}

void TurnedResult::finish(Threads threads) const {
  if (data_ != given_) turned_.turn_back(data_, element_bytes_, given_, threads);
}

}  // namespace fastdist
