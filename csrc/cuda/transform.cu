// Distance transforms of masks and labels.
#include "transform.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "../core/keys.h"
#include "../core/whole_steps.h"
#include "kernels/label_edges.cuh"
#include "kernels/search.cuh"
#include "planes.h"

namespace fastdist::cuda {

Image::Image(const int64_t* sizes, int dims) : ndim(dims > 0 ? dims : 1), shape{1}, voxels(1) {
  for (int a = 0; a < dims; ++a) {
    shape[a] = sizes[a];
    voxels *= sizes[a];
    if (sizes[a] > (int64_t(1) << 30))
      throw std::invalid_argument("input: an axis has " + std::to_string(sizes[a]) + " voxels, expected at most 2^30 on a GPU");
  }
  width = shape[ndim - 1];
  rows = width > 0 ? voxels / width : 0;
  words = int((width + 31) / 32);
}

void run_passes(Numbers numbers, const Passes& passes, const Context& context) {
  switch (numbers) {
    case Numbers::kExactFloat: return run_passes_in<ExactFloat>(passes, context);
    case Numbers::kInt: return run_passes_in<Int>(passes, context);
    case Numbers::kLong: return run_passes_in<Long>(passes, context);
    case Numbers::kAnyFloat: return run_passes_in<AnyFloat>(passes, context);
    case Numbers::kAnyDouble: return run_passes_in<AnyDouble>(passes, context);
  }
}

Numbers numbers_for(const Image& image, const Metric& metric, bool known, bool float64) {
  if (!known) return float64 ? Numbers::kAnyDouble : Numbers::kAnyFloat;
  if (metric.arithmetic == Arithmetic::kF32) return Numbers::kAnyFloat;
  if (metric.arithmetic == Arithmetic::kF64) return Numbers::kAnyDouble;
  const double reach = squared_reach(image.shape, metric.weight, image.ndim);
  if (reach < 16777216.0) return Numbers::kExactFloat;
  return reach < 1073741824.0 ? Numbers::kInt : Numbers::kLong;
}

namespace {

// Passes whose units are images, all of one shape.
Passes passes_over(const Image& image, const Batch& batch, const Spacing& spacing, const Metric& metric, Kind kind,
                   EdtOptions options, Element out_type, void* distances, const Context& context) {
  Passes passes{image, batch.images, {}, {}, nullptr, nullptr, {}, kind == Kind::kUnsigned, false};
  std::copy_n(metric.weight, image.ndim, passes.weight);
  passes.of_unit.kind = kind;
  passes.of_unit.maps = 1;
  passes.of_unit.planes = 1;
  passes.of_unit.border = options.border;
  passes.of_unit.ndim = image.ndim;
  passes.of_unit.lengths = {metric.scale, 0, 0, 1, 0, 0, 1};
  passes.finish.out = distances;
  passes.finish.type = out_type;
  passes.finish.squared = options.squared;
  set_lengths_of_images(image, batch.images, spacing, nullptr, context, &passes.of_unit);
  return passes;
}

void search_nearest(const Passes& passes, const Batch& mask, const Spacing& spacing, const Context& context) {
  const Image& image = passes.image;
  SearchArguments a{};
  a.units = passes.of_unit;
  a.finish = passes.finish;
  a.planes = passes.planes;
  a.images = mask.images;
  a.voxels = image.voxels;
  a.width = image.width;
  a.words = image.words;
  a.spacings = spacing.per_image;
  const int64_t all = mask.images * image.voxels;
  double* buffers[2] = {context.array<double>(all), context.array<double>(all)};
  const Grid voxels{(all + kSearchThreads - 1) / kSearchThreads, kSearchThreads};
  a.result = buffers[0];
  launch("search_start", search_start, voxels, context.stream, a);
  a.inner = image.voxels;
  for (int axis = 0; axis < image.ndim; ++axis) {
    a.axis = axis;
    a.length = image.shape[axis];
    a.inner /= a.length;
    a.spacing = axis < int(spacing.shared.size()) ? spacing.shared[size_t(axis)] : 1.0;
    a.source = a.result;
    a.result = a.source == buffers[0] ? buffers[1] : buffers[0];
    const Grid columns{(all / a.length + 31) / 32, kSearchThreads};
    launch("search_axis", search_axis, columns, context.stream, a);
  }
  a.source = a.result;
  launch("search_distances", search_distances, voxels, context.stream, a);
  a.place = reinterpret_cast<int64_t*>(buffers[0]);  // the squared distances have been used
  a.found = reinterpret_cast<int64_t*>(buffers[1]);
  for (int axis = image.ndim - 2; axis >= 0; --axis) {
    a.axis = axis;
    a.width = image.shape[axis + 1];
    launch("search_follow", search_follow, voxels, context.stream, a);
    launch("search_found", search_found, voxels, context.stream, a);
    a.inner *= a.width;
  }
}

template <class Word>
void launch_label_edges(const LabelEdgesArguments& a, const Context& context) {
  const int64_t warps = kPackThreads / 32;
  const Grid grid{(a.images * a.rows + warps - 1) / warps, kPackThreads};
  launch("label_edges", label_edges<Word>, grid, context.stream, a);
}

}  // namespace

void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element out_type, void* distances, void* indices,
         bool wide, const Context& context) {
  const Image image(mask.shape.data(), int(mask.shape.size()));
  if (mask.images * image.voxels == 0) return;
  const bool known = spacing.per_image == nullptr, float64 = out_type == Element::kF64;
  Metric metric = metric_of(image, spacing, float64);
  if (indices && known) make_commensurable(image.shape, spacing.shared.data(), int(spacing.shared.size()), &metric);
  Passes passes =
      passes_over(image, mask, spacing, metric, Kind::kUnsigned, options, out_type, distances, context);
  Planes planes = pack_masks(image, mask.data, mask.type, mask.images, options.border, context);
  passes.planes = planes.words;
  Numbers numbers = numbers_for(image, metric, known, float64);
  if (indices) {
    const KeyLayout layout = make_key_layout(image.shape, metric.weight, image.ndim);
    Finish& finish = passes.finish;
    finish.indices = indices;
    finish.wide = wide;
    finish.ndim = image.ndim;
    finish.axis_stride = mask.images * image.voxels;
    finish.squared_shift = layout.squared_shift;
    std::copy_n(layout.shift, image.ndim, finish.shift);
    std::copy_n(layout.bits, image.ndim, finish.bits);
    const bool whole = numbers != Numbers::kAnyFloat && numbers != Numbers::kAnyDouble;
    if (!whole || !layout.fits) return search_nearest(passes, mask, spacing, context);
    passes.keys = true;
    numbers = Numbers::kLong;
  }
  run_passes(numbers, passes, context);
}

void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element out_type, void* distances,
                const Context& context) {
  const Image image(labels.shape.data(), int(labels.shape.size()));
  if (labels.images * image.voxels == 0) return;
  if (image.ndim - 1 > kMostLabelAxes)
    throw std::invalid_argument("ndim: expected at most " + std::to_string(kMostLabelAxes + 1) + " on a GPU, got " +
                                std::to_string(image.ndim));
  const bool known = spacing.per_image == nullptr, float64 = out_type == Element::kF64;
  const Metric metric = metric_of(image, spacing, float64);
  Passes passes =
      passes_over(image, labels, spacing, metric, Kind::kLabels, options, out_type, distances, context);
  LabelEdgesArguments a{};
  a.labels = labels.data;
  a.type = labels.type;
  a.images = labels.images;
  a.rows = image.rows;
  a.width = image.width;
  a.words = image.words;
  a.border = options.border;
  a.axes = image.ndim - 1;
  int64_t step = 1;
  for (int axis = image.ndim - 2; axis >= 0; --axis) {
    a.row_step[axis] = step;
    a.length[axis] = image.shape[axis];
    step *= image.shape[axis];
  }
  const int64_t words = labels.images * image.rows * image.words;
  a.out = context.array<RowWord>(words);
  a.column_edges = context.array<uint32_t>(words * (a.axes > 0 ? a.axes : 1));
  switch (element_bytes(labels.type)) {
    case 1: launch_label_edges<uint8_t>(a, context); break;
    case 2: launch_label_edges<uint16_t>(a, context); break;
    case 4: launch_label_edges<uint32_t>(a, context); break;
    default: launch_label_edges<uint64_t>(a, context); break;
  }
  passes.planes = a.out;
  passes.label_edges = a.column_edges;
  run_passes(numbers_for(image, metric, known, float64), passes, context);
}

}  // namespace fastdist::cuda
