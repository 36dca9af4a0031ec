#include "planes.h"

#include <algorithm>

#include "kernels/lengths.cuh"

namespace fastdist::cuda {

namespace {

// Blocks of a launch that packs: enough to fill any GPU, few enough that each reads the flags of all parts of a unit quickly.
constexpr int64_t kMostParts = 1024;

PackArguments arguments_of(const Image& image, int64_t sets) {
  PackArguments a{};
  a.rows = image.rows;
  a.width = image.width;
  a.words = image.words;
  const Parts parts = parts_of(image, sets);
  a.parts = parts.count;
  a.rows_per_part = parts.rows;
  return a;
}

template <class Word>
void launch_pack(const PackArguments& a, int64_t sets, const Context& context) {
  const Grid grid{sets * a.parts, kPackThreads, kPackThreads / 32 * 4};
  if (a.classes) launch("pack", pack<Word, kClassGroup>, grid, context.stream, a);
  else launch("pack", pack<Word, 1>, grid, context.stream, a);
}

void launch_pack(const PackArguments& a, int64_t sets, const Context& context) {
  switch (element_bytes(a.type)) {
    case 1: return launch_pack<uint8_t>(a, sets, context);
    case 2: return launch_pack<uint16_t>(a, sets, context);
    case 4: return launch_pack<uint32_t>(a, sets, context);
    default: return launch_pack<uint64_t>(a, sets, context);
  }
}

}  // namespace

Parts parts_of(const Image& image, int64_t sets) {
  // A warp has a row at a time; with few images, few rows a warp.
  const int64_t warps = kPackThreads / 32, blocks = (image.rows + warps - 1) / warps;
  const int64_t wanted = std::max<int64_t>(1, 4 * kMostParts / std::max<int64_t>(1, sets));
  const int64_t parts = std::clamp<int64_t>(std::min(blocks, wanted), 1, kMostParts);
  const int64_t rows = (image.rows + parts - 1) / parts;
  return {int((image.rows + rows - 1) / rows), rows};
}

Planes pack_masks(const Image& image, const void* data, Element type, int64_t images, bool border, const Context& context) {
  PackArguments a = arguments_of(image, images);
  a.data = data;
  a.type = type;
  a.predicate = Predicate::kNonzero;
  a.maps = 1;
  a.planes = 1;
  a.mask_plane = true;
  a.border = border;
  a.out = context.array<RowWord>(images * image.rows * image.words);
  launch_pack(a, images, context);
  return {a.out, 1, nullptr, a.parts};
}

Planes pack_target(const Image& image, const Target& target, int planes, bool border, const Context& context) {
  const bool labels = target.layout == Layout::kLabels;
  const int64_t units = target.images * target.maps;
  const int64_t sets = labels ? target.images * ((target.maps + kClassGroup - 1) / kClassGroup) : units;
  PackArguments a = arguments_of(image, sets);
  a.data = target.data;
  a.type = target.type;
  a.classes = labels;
  a.predicate = target.predicate();
  a.maps = target.maps;
  a.first_class = target.first_class;
  a.has_ignore = labels && target.has_ignore;
  a.ignore = target.ignore;
  a.valid = target.valid;
  a.planes = planes;
  a.border = border;
  a.out = context.array<RowWord>(units * planes * image.rows * image.words);
  a.seen = context.array<uint32_t>(units * a.parts);
  launch_pack(a, sets, context);
  return {a.out, planes, a.seen, a.parts};
}

Metric metric_of(const Image& image, const Spacing& spacing, bool float64) {
  double steps[kMaxDims];
  for (int a = 0; a < image.ndim; ++a)
    steps[a] = spacing.per_image || a >= int(spacing.shared.size()) ? 1.0 : spacing.shared[size_t(a)];
  return make_metric(image.shape, steps, image.ndim, float64);
}

void set_lengths_of_images(const Image& image, int64_t images, const Spacing& spacing, const SignedOptions* options,
                           const Context& context, Units* units) {
  const int ndim = int(spacing.shared.size());
  if (!spacing.per_image || ndim == 0) return;
  LengthsArguments a{};
  a.spacing = spacing.per_image;
  a.images = images;
  a.ndim = ndim;
  for (int axis = 0; axis < ndim; ++axis) a.size[axis] = double(image.shape[axis]);
  a.zero = int(Zero::kNone);
  if (options) {
    a.zero = int(options->zero);
    a.diagonal_divides = options->normalize == Normalize::kDiagonal;
    a.empty_diagonal = options->empty_diagonal;
    a.full_diagonal = options->full_diagonal;
    a.empty = options->empty;
    a.full = options->full;
  }
  a.lengths = context.array<Lengths>(images);
  a.weights = context.array<double>(images * ndim);
  launch("make_lengths", make_lengths, Grid{(images + 127) / 128, 128}, context.stream, a);
  units->of_image = a.lengths;
  units->weights = a.weights;
}

}  // namespace fastdist::cuda
