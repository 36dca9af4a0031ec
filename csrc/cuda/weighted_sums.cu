// Which kernel takes which logits, and what it is told.
#include "weighted_sums.h"

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/sums_any.cuh"
#include "kernels/sums_few.cuh"

namespace fastdist::cuda {

namespace {

using Kernel = void (*)(SumsArguments);

bool few(const Logits& logits) { return !logits.float64() && logits.channels >= 1 && logits.channels <= kFewChannels; }

int voxels_of_thread(const Logits& logits, Order order) {
  return few(logits) ? few_voxels(int(logits.channels), order) : any_voxels(order);
}

// Voxels to a partial sum, from the shape alone. Of small images few, so that all multiprocessors have work; of large ones
// more, to which the reduction at the end of a block is little.
int64_t chunk_of_sums(const Logits& logits) {
  if (!few(logits)) return kAnyChunk;
  const int64_t times = logits.voxels >> 20;
  return 1024 * (times < 1 ? 1 : times > 4 ? 4 : times);
}

int64_t chunks_of(int64_t voxels, int64_t chunk) { return (voxels + chunk - 1) / chunk; }

bool aligned(const void* memory, int64_t bytes) { return reinterpret_cast<uintptr_t>(memory) % uintptr_t(bytes) == 0; }

int64_t blocks_of(int64_t images, int64_t each) {
  if (each > 0 && images > std::numeric_limits<int32_t>::max() / each)
    throw std::invalid_argument("input: expected at most 2^31 - 1 blocks of work, got " + std::to_string(images) + " x " +
                                std::to_string(each));
  return images * each;
}

bool is_floating(Element type) {
  return type == Element::kF16 || type == Element::kBF16 || type == Element::kF32 || type == Element::kF64;
}
bool is_signed(Element type) {
  return type == Element::kI8 || type == Element::kI16 || type == Element::kI32 || type == Element::kI64;
}

// Bits of 0.5 and of infinity.
uint64_t half_in(Element type) {
  switch (type) {
    case Element::kF16: return 0x3800;
    case Element::kBF16: return 0x3f00;
    case Element::kF32: return 0x3f000000;
    default: return 0x3fe0000000000000;
  }
}
uint64_t infinity_in(Element type) {
  switch (type) {
    case Element::kF16: return 0x7c00;
    case Element::kBF16: return 0x7f80;
    case Element::kF32: return 0x7f800000;
    default: return 0x7ff0000000000000;
  }
}

TargetElements elements_of(const Target& target, int64_t classes) {
  TargetElements e{};
  e.bytes = int(element_bytes(target.type));
  e.labels = target.layout == Layout::kLabels;
  e.floating = is_floating(target.type);
  e.type = target.type;
  const uint64_t all = ~uint64_t(0) >> (64 - 8 * e.bytes), positive = all >> 1;
  e.mask = e.high = all;
  if (target.predicate() == Predicate::kNonzero) {
    if (e.floating) e.mask = positive;  // -0 is 0, NaN is not
  } else if (e.floating) {
    e.low = half_in(target.type);
    e.high = infinity_in(target.type);
  } else if (is_signed(target.type)) {
    e.high = positive;
  }
  const bool cut = is_signed(target.type) && uint64_t(classes) > positive;
  e.classes = cut ? unsigned(positive + 1) : unsigned(classes);
  e.ignored = target.has_ignore && target.ignore >= 0 && target.ignore < classes ? unsigned(target.ignore) : kUnknown;
  return e;
}

// May a thread take several voxels at once? Then all rows of all arrays begin at a multiple of so many elements.
Order order_of(const Logits& logits, const void* maps, const Target& target, const void* gradient) {
  const int64_t pack = voxels_of_thread(logits, Order::kPlanar), bytes = pack * element_bytes(logits.type);
  const bool aligned_all = logits.voxels % pack == 0 && aligned(maps, pack * (logits.float64() ? 8 : 4)) &&
                           aligned(target.data, pack * element_bytes(target.type)) && aligned(target.valid, pack) &&
                           aligned(logits.data, bytes) && aligned(gradient, bytes) &&
                           (logits.images <= 1 || logits.image_stride % pack == 0);
  if (!aligned_all) return Order::kScattered;
  if (logits.voxel_stride == 1 && (logits.channels <= 1 || logits.channel_stride % pack == 0)) return Order::kPlanar;
  const bool between = logits.channel_stride == 1 && logits.voxel_stride == logits.channels;
  return between && few(logits) && logits.channels <= kExactChannels ? Order::kInterleaved : Order::kScattered;
}

// Everything but the outputs.
SumsArguments arguments_of(const Logits& logits, const void* maps, const Target& target, const double* item_spacing,
                           int ndim, int64_t chunk) {
  if (logits.channels > std::numeric_limits<int32_t>::max() / 4)
    throw std::invalid_argument("input: has too many channels, " + std::to_string(logits.channels));
  SumsArguments a{};
  a.logits = logits.data;
  a.image_stride = logits.image_stride;
  a.channel_stride = logits.channel_stride;
  a.voxel_stride = logits.voxel_stride;
  a.bfloat = logits.type == Element::kBF16;
  a.activation = logits.activation;
  a.maps = maps;
  a.target = target.data;
  a.elements = elements_of(target, logits.channels);
  a.valid = target.valid;
  a.item_spacing = item_spacing;
  a.ndim = ndim;
  a.channels = int(logits.channels);
  a.first_class = int(target.first_class);
  a.maps_count = int(target.maps);
  a.voxels = logits.voxels;
  a.chunk = int(chunk);
  a.chunks = unsigned(chunks_of(logits.voxels, chunk));
  return a;
}

template <class T>
Kernel sums_few_kernel(const Logits& logits, Order order) {
  const int64_t channels = logits.channels;
  if (order != Order::kPlanar)  // interleaved ones are put together by the first-level cache; only writes need packs
    return channels <= 2   ? sums_few<T, 2, Order::kScattered>
           : channels <= 4 ? sums_few<T, 4, Order::kScattered>
                           : sums_few<T, 8, Order::kScattered>;
  switch (channels) {
    case 1: return sums_few<T, 1, Order::kPlanar>;
    case 2: return sums_few<T, 2, Order::kPlanar>;
    case 3: return sums_few<T, 3, Order::kPlanar>;
    case 4: return sums_few<T, 4, Order::kPlanar>;
    case 5: return sums_few<T, 5, Order::kPlanar>;
    default: return sums_few<T, 8, Order::kPlanar>;
  }
}

template <class T>
Kernel sums_kernel(const Logits& logits, Order order) {
  if constexpr (sizeof(T) < 8)
    if (few(logits)) return sums_few_kernel<T>(logits, order);
  return order == Order::kPlanar ? sums_any<T, Order::kPlanar> : sums_any<T, Order::kScattered>;
}

template <class T>
Kernel gradient_few_kernel(const Logits& logits, Order order) {
  const int64_t channels = logits.channels;
  if (order == Order::kScattered)
    return channels <= 2   ? gradient_few<T, 2, Order::kScattered>
           : channels <= 4 ? gradient_few<T, 4, Order::kScattered>
                           : gradient_few<T, 8, Order::kScattered>;
  const bool planar = order == Order::kPlanar;
  switch (channels) {
    case 1: return gradient_few<T, 1, Order::kPlanar>;
    case 2: return planar ? gradient_few<T, 2, Order::kPlanar> : gradient_few<T, 2, Order::kInterleaved>;
    case 3: return planar ? gradient_few<T, 3, Order::kPlanar> : gradient_few<T, 3, Order::kInterleaved>;
    case 4: return planar ? gradient_few<T, 4, Order::kPlanar> : gradient_few<T, 4, Order::kInterleaved>;
    case 5: return planar ? gradient_few<T, 5, Order::kPlanar> : gradient_few<T, 5, Order::kInterleaved>;
    default: return gradient_few<T, 8, Order::kPlanar>;
  }
}

template <class T>
Kernel gradient_kernel(const Logits& logits, Order order) {
  if constexpr (sizeof(T) < 8)
    if (few(logits)) return gradient_few_kernel<T>(logits, order);
  return order == Order::kPlanar ? gradient_any<T, Order::kPlanar> : gradient_any<T, Order::kScattered>;
}

// Visits a value of the type that the kernels read.
template <class Visit>
Kernel with_logits(Element type, const Visit& visit) {
  switch (element_bytes(type)) {
    case 2: return visit(Sixteen{});
    case 4: return visit(float{});
    default: return visit(double{});
  }
}

}  // namespace

int64_t weighted_sums_scratch(const Logits& logits, const Target& target) {
  const int64_t chunks = chunks_of(logits.voxels, chunk_of_sums(logits));
  return logits.images * (2 * target.maps + 1) * chunks * int64_t(sizeof(double));
}

void weighted_sums(const Logits& logits, const void* maps, const Target& target, void* sums, int64_t* counts, void* perfect,
                   const double* item_spacing, int ndim, void* scratch, Stream stream) {
  const Order order = order_of(logits, maps, target, nullptr);
  SumsArguments a = arguments_of(logits, maps, target, item_spacing, ndim, chunk_of_sums(logits));
  a.partials = static_cast<double*>(scratch);
  const Kernel kernel =
      with_logits(logits.type, [&](auto element) { return sums_kernel<decltype(element)>(logits, order); });
  const size_t shared = few(logits)        ? sizeof(FewShared)
                        : logits.float64() ? sizeof(AnyShared<double>)
                                           : sizeof(AnyShared<float>);
  launch("weighted_sums", kernel, Grid{blocks_of(logits.images, a.chunks), kSumsThreads, int64_t(shared)}, stream, a);

  const AddArguments add{a.partials, a.chunks, a.maps_count, sums, counts, perfect};
  const Grid grid{blocks_of(logits.images, 2 * target.maps + 1), a.chunks <= 64 ? 32 : kSumsThreads,
                  kSumsWarps * int64_t(sizeof(double))};
  launch("weighted_sums, second stage", logits.float64() ? add_partials<double> : add_partials<float>, grid, stream, add);
}

void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                            void* gradient, const double* item_spacing, int ndim, Stream stream) {
  const Order order = order_of(logits, maps, target, gradient);
  const int64_t chunk = int64_t(kSumsThreads) * voxels_of_thread(logits, order);
  SumsArguments a = arguments_of(logits, maps, target, item_spacing, ndim, chunk);
  a.grad_sums = grad_sums;
  a.gradient = gradient;
  const Kernel kernel =
      with_logits(logits.type, [&](auto element) { return gradient_kernel<decltype(element)>(logits, order); });
  launch("weighted_sums_backward", kernel, Grid{blocks_of(logits.images, a.chunks), kSumsThreads}, stream, a);
}

}  // namespace fastdist::cuda
