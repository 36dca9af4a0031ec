// Signed distance maps of masks, channels and integer labels.
#include <algorithm>

#include "kernels/boundary.cuh"
#include "kernels/normalize.cuh"
#include "planes.h"

namespace fastdist::cuda {

namespace {

const uint32_t* find_boundaries(const Image& image, const Planes& planes, int64_t units, bool border, const Context& context) {
  InnerArguments a{};
  a.planes = planes.words;
  a.units = units;
  a.rows = image.rows;
  a.width = image.width;
  a.words = image.words;
  a.height = image.ndim >= 2 ? image.shape[image.ndim - 2] : 1;
  a.depth = image.ndim >= 3 ? image.shape[image.ndim - 3] : 1;
  a.border = border;
  a.ndim = image.ndim;
  a.parts = planes.parts;
  a.rows_per_part = (image.rows + planes.parts - 1) / planes.parts;
  a.seen = context.array<uint32_t>(units * a.parts);
  launch("inner_boundary", inner_boundary, Grid{units * a.parts, kPackThreads}, context.stream, a);
  return a.seen;
}

template <class Value>
void normalize(const Passes& passes, Normalize by, const Context& context) {
  NormalizeArguments<Value> a{};
  a.units = passes.of_unit;
  a.planes = passes.planes;
  a.rows = passes.image.rows;
  a.width = passes.image.width;
  a.words = passes.image.words;
  a.parts = int(std::clamp<int64_t>(passes.image.voxels / (kNormalizeThreads * 16), 1, 256));
  a.maps = static_cast<Value*>(passes.finish.out);
  const Grid grid{passes.units * a.parts, kNormalizeThreads};
  if (by == Normalize::kDiagonal) return launch("divide_by_diagonal", divide_by_diagonal<Value>, grid, context.stream, a);
  a.largest = context.array<Value>(passes.units * 2);
  clear(a.largest, passes.units * 2 * int64_t(sizeof(Value)), context.stream);
  launch("find_largest", find_largest<Value>, grid, context.stream, a);
  launch("divide_by_largest", divide_by_largest<Value>, grid, context.stream, a);
}

}  // namespace

void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, bool float64, void* maps,
                 const Context& context) {
  target.check_classes();
  const Image image(target.shape.data(), int(target.shape.size()));
  if (target.images * target.maps * image.voxels == 0) return;
  if (image.ndim > 3)
    throw std::invalid_argument("ndim: expected at most 3 for signed maps on a GPU, got " + std::to_string(image.ndim));
  const bool inner = options.zero == Zero::kInner;
  const bool may_ignore = target.valid || target.layout == Layout::kLabels;  // a label that is no class counts as ignored
  const Planes planes = pack_target(image, target, inner ? 3 : may_ignore ? 2 : 1, options.border, context);

  const Metric metric = metric_of(image, spacing, float64);
  const Shifts shifts = shifts_of(options.zero, metric.smallest);
  Passes passes{image, target.images * target.maps, {}, {}, planes.words, nullptr, {}, false, false};
  std::copy_n(metric.weight, image.ndim, passes.weight);
  Units& units = passes.of_unit;
  units.kind = Kind::kSigned;
  units.maps = target.maps;
  units.planes = planes.count;
  units.seen = planes.seen;
  units.parts = planes.parts;
  units.border = options.border;
  units.ndim = image.ndim;
  units.lengths = {metric.scale,
                   shifts.inside,
                   shifts.outside,
                   metric.diagonal,
                   options.empty_diagonal ? metric.diagonal : options.empty,
                   options.full_diagonal ? -metric.diagonal : options.full,
                   1};
  set_lengths_of_images(image, target.images, spacing, &options, context, &units);
  if (inner) units.boundary = find_boundaries(image, planes, passes.units, options.border, context);
  passes.finish.out = maps;
  passes.finish.type = float64 ? Element::kF64 : Element::kF32;
  passes.finish.clip = options.clip;
  run_passes(numbers_for(image, metric, spacing.per_image == nullptr, float64), passes, context);
  if (options.normalize == Normalize::kNone) return;
  if (float64) normalize<double>(passes, options.normalize, context);
  else normalize<float>(passes, options.normalize, context);
}

}  // namespace fastdist::cuda
