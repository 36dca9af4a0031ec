#include "edt.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "turned.h"

namespace fastdist {

void check_spacing(const Spacing& spacing, int64_t images, const char* argument) {
  const int64_t ndim = int64_t(spacing.shared.size());
  for (int64_t i = 0; i < (spacing.per_image ? images : 1); ++i)
    for (int64_t a = 0; a < ndim; ++a) {
      const double h = spacing.of(i)[a];
      if (std::isfinite(h) && h > 0) continue;
      throw std::invalid_argument(std::string(argument) + ": expected finite numbers above zero, got " + std::to_string(h) +
                                  " for image " + std::to_string(i) + ", axis " + std::to_string(a));
    }
}

int64_t pack_rows(const Image& image, const void* voxels, Element type, Predicate predicate, uint64_t* bits, Threads threads) {
  const int64_t row_bytes = image.width * element_bytes(type);
  return count_rows(image, threads, [&](int64_t row) {
    return kernels().pack(static_cast<const char*>(voxels) + row * row_bytes, type, predicate, image.width,
                          bits + row * image.words);
  });
}

void fill_unreachable(void* out, Element type, int64_t count) {
  const auto fill = [&](auto value) { std::fill_n(static_cast<decltype(value)*>(out), count, value); };
  switch (type) {
    case Element::kF32: return fill(std::numeric_limits<float>::infinity());
    case Element::kF64: return fill(std::numeric_limits<double>::infinity());
    case Element::kI32: return fill(std::numeric_limits<int32_t>::max());
    default: return fill(std::numeric_limits<int64_t>::max());
  }
}

namespace {

template <class Out>
void convert_squares(const void* squares, Arithmetic arithmetic, double factor, int64_t count, void* out) {
  Out* to = static_cast<Out*>(out);
  auto copy = [&](const auto* from) {
    if (factor == 1.0) {
      for (int64_t i = 0; i < count; ++i) to[i] = Out(from[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = Out(double(from[i]) * factor);
    }
  };
  switch (arithmetic) {
    case Arithmetic::kU32: return copy(static_cast<const uint32_t*>(squares));
    case Arithmetic::kU64: return copy(static_cast<const uint64_t*>(squares));
    case Arithmetic::kF32: return copy(static_cast<const float*>(squares));
    case Arithmetic::kF64: return copy(static_cast<const double*>(squares));
  }
}

bool same_bits(Arithmetic arithmetic, Element type) {
  return (arithmetic == Arithmetic::kU32 && type == Element::kI32) || (arithmetic == Arithmetic::kU64 && type == Element::kI64) ||
         (arithmetic == Arithmetic::kF32 && type == Element::kF32) || (arithmetic == Arithmetic::kF64 && type == Element::kF64);
}

// Distances or squared distances of one image; false if a label image has no edge.
bool run(const Image& image, const Metric& metric, const Sources& sources, bool squared, Element type, void* out,
         Threads threads) {
  if (!squared) {
    Epilogue epilogue;
    epilogue.scale = metric.scale;
    epilogue.below_2_24 = squared_reach(image.shape, metric.weight, image.ndim) < 16777216.0;
    const Finish finish = type == Element::kF32 ? Finish::kMapF32 : Finish::kMapF64;
    return transform(image, metric, sources, Result{finish, out, &epilogue}, threads);
  }
  if (metric.scale == 1.0 && same_bits(metric.arithmetic, type))
    return transform(image, metric, sources, Result{Finish::kStore, out}, threads);
  Buffer squares(image.voxels * 8);
  if (!transform(image, metric, sources, Result{Finish::kStore, squares.as<void>()}, threads)) return false;
  const double factor = metric.scale * metric.scale;
  switch (type) {
    case Element::kF32: convert_squares<float>(squares.as<void>(), metric.arithmetic, factor, image.voxels, out); break;
    case Element::kF64: convert_squares<double>(squares.as<void>(), metric.arithmetic, factor, image.voxels, out); break;
    case Element::kI32: convert_squares<int32_t>(squares.as<void>(), metric.arithmetic, factor, image.voxels, out); break;
    default: convert_squares<int64_t>(squares.as<void>(), metric.arithmetic, factor, image.voxels, out); break;
  }
  return true;
}

}  // namespace

void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element out_type, void* distances, void* indices,
         bool wide, Threads threads) {
  check_spacing(spacing, mask.images, "sampling");
  const Turned turned(mask.shape);
  const Image& image = turned.image();
  const int64_t in_bytes = image.voxels * element_bytes(mask.type), out_bytes = image.voxels * element_bytes(out_type);
  for_each_image(mask.images, image.voxels, threads, [&](int64_t i, Threads here) {
    const void* voxels = static_cast<const char*>(mask.data) + i * in_bytes;
    void* out = static_cast<char*>(distances) + i * out_bytes;
    if (indices) {
      NearestOutput nearest;
      nearest.squared = options.squared;
      nearest.distance_type = out_type;
      nearest.distances = out;
      nearest.indices = static_cast<char*>(indices) + i * image.voxels * (wide ? 8 : 4);
      nearest.axis_stride = mask.images * image.voxels;
      nearest.wide = wide;
      return nearest_sources(mask.shape, spacing.of(i), voxels, mask.type, nearest, here);
    }
    Buffer bits(image.bit_words() * 8);
    const TurnedCopy turned_voxels(turned, voxels, element_bytes(mask.type), here);
    const int64_t set = pack_rows(image, turned_voxels.data(), mask.type, Predicate::kNonzero, bits.as<uint64_t>(), here);
    if (set == image.voxels && !options.border) return fill_unreachable(out, out_type, image.voxels);
    const Metric metric = turned.metric(spacing.of(i), out_type == Element::kF64);
    Sources sources;
    sources.foreground = bits.as<uint64_t>();
    sources.one_sided = true;
    sources.border = options.border;
    const TurnedResult result(turned, set == 0, element_bytes(out_type), out);
    run(image, metric, sources, options.squared, out_type, result.data(), here);
    result.finish(here);
  });
}

void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element out_type, void* distances,
                Threads threads) {
  check_spacing(spacing, labels.images, "sampling");
  const Turned turned(labels.shape);
  const Image& image = turned.image();
  const int64_t in_bytes = image.voxels * element_bytes(labels.type), out_bytes = image.voxels * element_bytes(out_type);
  for_each_image(labels.images, image.voxels, threads, [&](int64_t i, Threads here) {
    void* out = static_cast<char*>(distances) + i * out_bytes;
    const Metric metric = turned.metric(spacing.of(i), out_type == Element::kF64);
    const TurnedCopy voxels(turned, static_cast<const char*>(labels.data) + i * in_bytes, element_bytes(labels.type), here);
    Sources sources;
    sources.border = options.border;
    sources.labels = voxels.data();
    sources.label_type = labels.type;
    const TurnedResult result(turned, false, element_bytes(out_type), out);
    if (run(image, metric, sources, options.squared, out_type, result.data(), here)) result.finish(here);
    else fill_unreachable(out, out_type, image.voxels);
  });
}

}  // namespace fastdist
