#include "planes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/lengths.cuh"
#include "kernels/pack_bytes.cuh"

namespace fastdist::cuda {

namespace {

// Blocks of a launch that packs: enough to fill any GPU, few enough that each reads the flags of all parts of a unit quickly.
constexpr int64_t kMostParts = 512;

bool in_multiples(const void* bytes, int64_t width, int of) {
  return width % of == 0 && reinterpret_cast<uintptr_t>(bytes) % uintptr_t(of) == 0;
}

// Whether pack_bytes serves them, where all arguments but those of arguments_of() are known.
bool by_bytes(const Image& image, const void* data, Element type, const uint8_t* valid, int64_t maps) {
  return element_bytes(type) == 1 && in_multiples(data, image.width, 4) && in_multiples(valid, image.width, 4) &&
         maps <= kMostByteMaps;
}

PackArguments arguments_of(const Image& image, int64_t sets, int rows_of_warp, bool border) {
  PackArguments a{};
  a.border = border;
  a.rows = image.rows;
  a.width = image.width;
  a.words = image.words;
  const Parts parts = parts_of(image, sets, rows_of_warp);
  a.parts = parts.count;
  a.rows_per_part = parts.rows;
  return a;
}

bool is_real_type(Element type) {
  return type == Element::kF16 || type == Element::kBF16 || type == Element::kF32 || type == Element::kF64;
}

bool is_signed_type(Element type) {
  return type == Element::kI8 || type == Element::kI16 || type == Element::kI32 || type == Element::kI64;
}

uint64_t all_ones(int64_t bits) { return bits == 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1; }

// "Not zero" and "above 1/2" in terms of an element's bits.
void set_predicate(Element type, Predicate predicate, PackArguments* a) {
  const int64_t bits = element_bytes(type) * 8;
  const bool real = is_real_type(type);
  a->significant = all_ones(bits);
  a->least = 1;
  a->span = a->significant - 1;
  if (predicate == Predicate::kNonzero) {
    if (real) a->significant >>= 1;  // -0.0 is zero, NaN is not
  } else if (real) {
    // Positive floating numbers have the order of their bits: from the one behind 1/2 to infinity.
    const auto bits_in = [type](uint64_t f16, uint64_t bf16, uint64_t f32, uint64_t f64) {
      return type == Element::kF16 ? f16 : type == Element::kBF16 ? bf16 : type == Element::kF32 ? f32 : f64;
    };
    const uint64_t half = bits_in(0x3800, 0x3f00, 0x3f000000, 0x3fe0000000000000);
    const uint64_t infinity = bits_in(0x7c00, 0x7f80, 0x7f800000, 0x7ff0000000000000);
    a->least = half + 1;
    a->span = infinity - a->least;
  } else if (is_signed_type(type)) {
    a->span = (a->significant >> 1) - 1;
  }
}

// The bits that a label has in this type; false where it has none.
bool bits_of_label(Element type, int64_t label, uint64_t* bits) {
  if (is_real_type(type)) {
    switch (type) {
      case Element::kF64: {
        const double value = double(label);
        std::memcpy(bits, &value, 8);
        return int64_t(value) == label;
      }
      case Element::kF32: *bits = fastdist::bits_of(float(label)); break;
      case Element::kF16: *bits = half_of(float(label)).bits; break;
      default: *bits = bfloat_of(float(label)).bits; break;
    }
    const float back = type == Element::kF32    ? float_of_bits(uint32_t(*bits))
                       : type == Element::kF16 ? float_of(Half{uint16_t(*bits)})
                                               : float_of(BFloat{uint16_t(*bits)});
    return std::fabs(back) < 1e18f && int64_t(back) == label;
  }
  const int64_t size = element_bytes(type) * 8;
  *bits = uint64_t(label) & all_ones(size);
  if (is_signed_type(type)) return size == 64 || (label >= -(int64_t(1) << (size - 1)) && label < int64_t(1) << (size - 1));
  return label >= 0 && (size == 64 || label < int64_t(1) << size);
}

template <class Word>
void launch_pack(const PackArguments& a, int64_t sets, const Context& context) {
  const Grid grid{sets * a.parts, kPackThreads, kPackThreads / 32 * 4};
  if (a.classes == 0) return launch("pack", pack<Word, Read::kMask>, grid, context.stream, a);
  if constexpr (sizeof(Word) > 1) {
    if (is_real_type(a.type)) return launch("pack", pack<Word, Read::kReals>, grid, context.stream, a);
  }
  launch("pack", pack<Word, Read::kIntegers>, grid, context.stream, a);
}

// Bits of the planes, then the edges of their rows. `units` maps in all, `images` images.
void make_planes(PackArguments a, bool bytes, int64_t sets, int64_t images, const Context& context) {
  const int64_t units = images * a.maps;
  if (bytes) {
    a.in_sixteens = in_multiples(a.data, a.width, 16) && in_multiples(a.valid, a.width, 16);
    const bool labels = a.classes > 0;
    const Grid grid{(labels ? images : units) * a.parts, kByteThreads, (labels ? a.maps : 1) * 4};
    return launch("pack_bytes", labels ? pack_bytes<true> : pack_bytes<false>, grid, context.stream, a);
  }
  switch (element_bytes(a.type)) {
    case 1: launch_pack<uint8_t>(a, sets, context); break;
    case 2: launch_pack<uint16_t>(a, sets, context); break;
    case 4: launch_pack<uint32_t>(a, sets, context); break;
    default: launch_pack<uint64_t>(a, sets, context); break;
  }
  // Of three planes the last is made later, by inner_boundary, which links its rows itself; these are linked for nothing.
  const LinkArguments link{a.out, units * a.planes * a.rows, a.rows, a.width, a.words, a.planes, a.border, a.mask_plane};
  const int64_t rows = kPackThreads / 32 * rows_beside(a.words);
  const Grid grid{(link.all_rows + rows - 1) / rows, kPackThreads};
  launch("link_rows", link_rows<kPackThreads>, grid, context.stream, link);
}

}  // namespace

Parts parts_of(const Image& image, int64_t sets, int rows_of_warp) {
  // With few images, each warp takes one turn.
  const int64_t rows_of_block = kPackThreads / 32 * rows_of_warp, blocks = (image.rows + rows_of_block - 1) / rows_of_block;
  const int64_t wanted = std::max<int64_t>(1, 8 * kMostParts / std::max<int64_t>(1, sets));
  const int64_t parts = std::clamp<int64_t>(std::min(blocks, wanted), 1, kMostParts);
  const int64_t rows = (image.rows + parts - 1) / parts;
  return {int((image.rows + rows - 1) / rows), rows};
}

Planes pack_masks(const Image& image, const void* data, Element type, int64_t images, bool border, const Context& context) {
  const bool bytes = by_bytes(image, data, type, nullptr, 1);
  PackArguments a = arguments_of(image, images, bytes ? rows_beside(image.words) : 1, border);
  a.data = data;
  a.type = type;
  set_predicate(type, Predicate::kNonzero, &a);
  a.maps = 1;
  a.planes = 1;
  a.mask_plane = true;
  a.out = context.array<RowWord>(images * image.rows * image.words);
  make_planes(a, bytes, images, images, context);
  return {a.out, 1, nullptr, a.parts};
}

Planes pack_target(const Image& image, const Target& target, int planes, bool border, const Context& context) {
  const bool labels = target.layout == Layout::kLabels;
  const int64_t units = target.images * target.maps;
  const int64_t sets = labels ? target.images * ((target.maps + kClassGroup - 1) / kClassGroup) : units;
  const bool bytes = by_bytes(image, target.data, target.type, target.valid, target.maps);
  // The classes' own boundaries, in the third plane, are looked for a row at a time, in the same parts.
  PackArguments a = arguments_of(image, sets, bytes && planes < 3 ? rows_beside(image.words) : 1, border);
  a.data = target.data;
  a.type = target.type;
  set_predicate(target.type, target.predicate(), &a);
  a.maps = target.maps;
  a.first_class = target.first_class;
  if (labels) {
    a.classes = target.range().classes;
    const uint64_t largest = all_ones(element_bytes(target.type) * 8) >> (is_signed_type(target.type) ? 1 : 0);
    if (!is_real_type(target.type) && uint64_t(a.classes) > largest) a.classes = int64_t(largest) + 1;
    a.has_ignore = target.has_ignore && bits_of_label(target.type, target.ignore, &a.ignore);
  }
  a.valid = target.valid;
  a.planes = planes;
  a.out = context.array<RowWord>(units * planes * image.rows * image.words);
  a.seen = context.array<uint32_t>(units * a.parts);
  make_planes(a, bytes, sets, target.images, context);
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
