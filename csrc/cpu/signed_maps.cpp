#include "signed_maps.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "turned.h"

namespace fastdist {

namespace {

std::string text_of(const void* data, Element type, int64_t i) {
  switch (type) {
    case Element::kBool: case Element::kU8: return std::to_string(static_cast<const uint8_t*>(data)[i]);
    case Element::kI8: return std::to_string(static_cast<const int8_t*>(data)[i]);
    case Element::kI16: return std::to_string(static_cast<const int16_t*>(data)[i]);
    case Element::kU16: return std::to_string(static_cast<const uint16_t*>(data)[i]);
    case Element::kI32: return std::to_string(static_cast<const int32_t*>(data)[i]);
    case Element::kU32: return std::to_string(static_cast<const uint32_t*>(data)[i]);
    case Element::kI64: return std::to_string(static_cast<const int64_t*>(data)[i]);
    case Element::kU64: return std::to_string(static_cast<const uint64_t*>(data)[i]);
    case Element::kF32: return std::to_string(static_cast<const float*>(data)[i]);
    case Element::kF64: return std::to_string(static_cast<const double*>(data)[i]);
    default: return "a value that is no whole number in that range";
  }
}

// The bits of one row that belong to voxels.
uint64_t row_mask(const Image& image, int64_t word) {
  const int64_t left = image.width - word * 64;
  return left >= 64 ? ~uint64_t(0) : left <= 0 ? 0 : (uint64_t(1) << left) - 1;
}

template <class Combine>  // uint64_t(index of the word, mask of its voxels)
void each_word(const Image& image, uint64_t* out, const Combine& combine) {
  for (int64_t row = 0; row < image.rows; ++row)
    for (int64_t w = 0; w < image.words; ++w) {
      const int64_t at = row * image.words + w;
      out[at] = combine(at, row_mask(image, w));
    }
}

// Foreground voxels that touch the background with a face, an edge or a corner, or with `border` the image's edge; returns
// whether there is any. A box of 3^n voxels is dilated one axis at a time.
bool inner_boundary(const Image& image, const uint64_t* fg, const uint64_t* bg, bool border, uint64_t* out) {
  const int64_t words = image.words;
  for (int64_t row = 0; row < image.rows; ++row) {
    const uint64_t* own = bg + row * words;
    for (int64_t w = 0; w < words; ++w) {
      const uint64_t from_left = own[w] << 1 | (w > 0 ? own[w - 1] >> 63 : 0);
      const uint64_t from_right = own[w] >> 1 | (w + 1 < words ? own[w + 1] << 63 : 0);
      out[row * words + w] = own[w] | from_left | from_right;
    }
    if (border) {
      out[row * words] |= 1;
      out[row * words + ((image.width - 1) >> 6)] |= uint64_t(1) << ((image.width - 1) & 63);
    }
  }
  Buffer copy(image.ndim >= 2 ? image.bit_words() * 8 : 0);
  int64_t stride = 1;  // rows from one to the next along the axis
  for (int a = image.ndim - 2; a >= 0; --a) {
    const uint64_t* from = copy.as<uint64_t>();
    std::copy_n(out, image.bit_words(), copy.as<uint64_t>());
    for (int64_t row = 0; row < image.rows; ++row) {
      const int64_t at = row / stride % image.shape[a];
      const bool first = at == 0, last = at + 1 == image.shape[a];
      for (int64_t i = row * words; i < (row + 1) * words; ++i) {
        if (!first) out[i] |= from[i - stride * words];
        if (!last) out[i] |= from[i + stride * words];
        if (border && (first || last)) out[i] = ~uint64_t(0);
      }
    }
    stride *= image.shape[a];
  }
  uint64_t any = 0;
  for (int64_t i = 0; i < image.bit_words(); ++i) any |= out[i] &= fg[i];
  return any != 0;
}

template <class Value, class Visit>
void each_marked(const Image& image, const uint64_t* bits, Value* map, const Visit& visit) {
  for (int64_t row = 0; row < image.rows; ++row)
    for (int64_t w = 0; w < image.words; ++w)
      for (uint64_t rest = bits[row * image.words + w] & row_mask(image, w); rest; rest &= rest - 1)
        visit(map[row * image.width + w * 64 + __builtin_ctzll(rest)]);
}

// Divides the inside by its largest magnitude and the outside by its largest value; zero stays zero.
template <class Value>
void normalize_by_max(const Image& image, const uint64_t* fg, Value* map) {
  Value largest[2] = {0, 0};
  const auto each = [&](const auto& visit) {
    for (int64_t row = 0; row < image.rows; ++row)
      for (int64_t x = 0; x < image.width; ++x)
        visit(map[row * image.width + x], fg[row * image.words + (x >> 6)] >> (x & 63) & 1);
  };
  each([&](Value value, uint64_t inside) {
    const Value magnitude = value < 0 ? -value : value;
    largest[inside] = magnitude > largest[inside] ? magnitude : largest[inside];
  });
  for (Value& divisor : largest) divisor = divisor > 0 ? divisor : 1;
  each([&](Value& value, uint64_t inside) { value /= largest[inside]; });
}

// One class of one image.
template <class Value>
class SignedMap {
 public:
  SignedMap(const Image& image, const Metric& metric, const SignedOptions& options, void* map, Threads threads)
      : image_(image), options_(options), metric_(metric), map_(static_cast<Value*>(map)), threads_(threads) {}

  // fg: bits of the class. known: bits of the voxels that are not ignored, or null if all are known.
  void compute(const uint64_t* fg, int64_t fg_count, const uint64_t* known, int64_t known_count) {
    const bool empty = fg_count == 0, full = fg_count == known_count && !options_.border;
    bool enclosed = true;
    if (known_count == 0) {
      std::fill_n(map_, image_.voxels, Value(0));
    } else if (empty || full) {
      std::fill_n(map_, image_.voxels, empty ? empty_value() : full_value());
    } else {
      if (options_.zero == Zero::kInner) enclosed = inner(fg, known);
      else if (known) two_transforms(fg, known);
      else one_transform(fg);
      if (options_.normalize == Normalize::kDiagonal)
        for (int64_t i = 0; i < image_.voxels; ++i) map_[i] = Value(map_[i] / metric_.diagonal);
    }
    if (known) {
      Buffer ignored(image_.bit_words() * 8);
      each_word(image_, ignored.as<uint64_t>(), [&](int64_t at, uint64_t mask) { return ~known[at] & mask; });
      each_marked(image_, ignored.as<uint64_t>(), map_, [](Value& value) { value = 0; });
    }
    if (options_.normalize == Normalize::kMax && !empty && !full) normalize_by_max(image_, fg, map_);
    if (!enclosed) {  // a constant of its own, neither clipped nor normalised
      const Value constant = full_value();
      each_marked(image_, fg, map_, [=](Value& value) { value = constant; });
    }
  }

 private:
  Value empty_value() const { return Value(options_.empty_diagonal ? metric_.diagonal : options_.empty); }
  Value full_value() const { return Value(options_.full_diagonal ? -metric_.diagonal : options_.full); }

  Epilogue epilogue(const uint64_t* fg, const uint64_t* keep) const {
    const Shifts shifts = shifts_of(options_.zero, metric_.smallest);
    Epilogue e;
    e.scale = metric_.scale;
    e.inside_shift = shifts.inside;
    e.outside_shift = shifts.outside;
    e.clip = options_.clip;
    e.below_2_24 = squared_reach(image_.shape, metric_.weight, image_.ndim) < 16777216.0;
    e.inside = fg;
    e.keep = keep;
    return e;
  }

  void run(const Sources& sources, const Epilogue& epilogue) {
    Result result{sizeof(Value) == 8 ? Finish::kMapF64 : Finish::kMapF32, map_, &epilogue};
    result.out_is_scratch = epilogue.keep == nullptr;
    transform(image_, metric_, sources, result, threads_);
  }

  // Distances to the set bits of `sites`, through a plane in which these are clear.
  void from_sites(const uint64_t* sites, bool border, const Epilogue& epilogue) {
    Buffer clear(image_.bit_words() * 8);
    each_word(image_, clear.as<uint64_t>(), [&](int64_t at, uint64_t mask) { return ~sites[at] & mask; });
    Sources sources;
    sources.foreground = clear.as<uint64_t>();
    sources.one_sided = true;
    sources.border = border;
    run(sources, epilogue);
  }

  void one_transform(const uint64_t* fg) {
    Sources sources;
    sources.foreground = fg;
    sources.border = options_.border;
    run(sources, epilogue(fg, nullptr));
  }

  // With ignored voxels inside and outside have sources of their own.
  void two_transforms(const uint64_t* fg, const uint64_t* known) {
    Buffer planes(image_.bit_words() * 16);
    uint64_t* bg = planes.as<uint64_t>();
    uint64_t* outside = bg + image_.bit_words();
    each_word(image_, bg, [&](int64_t at, uint64_t mask) { return known[at] & ~fg[at] & mask; });
    each_word(image_, outside, [&](int64_t at, uint64_t) { return ~fg[at]; });
    from_sites(fg, false, epilogue(fg, nullptr));
    from_sites(bg, options_.border, epilogue(fg, outside));
  }

  // The boundary is the class's own outermost voxels; seen from outside they are the nearest ones of the class. False, and
  // zero inside, where known foreground and background nowhere touch: nothing encloses the class.
  bool inner(const uint64_t* fg, const uint64_t* known) {
    Buffer planes(image_.bit_words() * 24);
    uint64_t* bg = planes.as<uint64_t>();
    uint64_t* boundary = bg + image_.bit_words();
    uint64_t* outside = boundary + image_.bit_words();
    each_word(image_, bg, [&](int64_t at, uint64_t mask) { return (known ? known[at] : ~uint64_t(0)) & ~fg[at] & mask; });
    each_word(image_, outside, [&](int64_t at, uint64_t) { return ~fg[at]; });
    const bool any = inner_boundary(image_, fg, bg, options_.border, boundary);
    if (any && !known) {
      from_sites(boundary, false, epilogue(fg, nullptr));
      return true;
    }
    from_sites(fg, false, epilogue(fg, nullptr));
    if (any) from_sites(boundary, false, epilogue(fg, outside));
    else each_marked(image_, fg, map_, [](Value& value) { value = 0; });
    return any;
  }

  const Image& image_;
  const SignedOptions& options_;
  const Metric metric_;
  Value* map_;
  Threads threads_;
};

}  // namespace

void classify(const Target& target, int64_t image, int64_t begin, int64_t end, uint16_t* classes) {
  const int64_t at = image * target.voxels + begin;
  const char* labels = static_cast<const char*>(target.data) + at * element_bytes(target.type);
  const LabelRange range = target.range();
  const int64_t bad = kernels().classify(labels, range, target.valid ? target.valid + at : nullptr, end - begin, classes);
  if (bad < 0) return;
  throw std::invalid_argument("labels: expected class indices from 0 to " + std::to_string(range.classes - 1) +
                              (range.has_ignore ? " or ignore_index " + std::to_string(range.ignore) : "") + ", got " +
                              text_of(labels, target.type, bad) + " at voxel " + std::to_string(begin + bad) + " of image " +
                              std::to_string(image));
}

void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, const char* spacing_name,
                 bool float64, void* maps, Threads threads) {
  check_spacing(spacing, target.images, spacing_name);
  const Turned turned(target.shape);
  const Image& image = turned.image();
  const int64_t voxels = image.voxels, plane = image.bit_words();
  const bool labels = target.layout == Layout::kLabels;
  const bool may_ignore = target.valid || (labels && target.has_ignore);
  target.check_classes();
  if (voxels == 0 || target.images == 0) return;

  Buffer classes(labels ? target.images * voxels * 2 : 0);
  Buffer as_given(labels && turned ? voxels * 2 : 0);
  Buffer known(may_ignore ? target.images * plane * 8 : 0);
  std::vector<int64_t> known_count(size_t(target.images), voxels);
  for (int64_t n = 0; n < target.images; ++n) {
    uint16_t* of_image = classes.as<uint16_t>() + n * voxels;
    if (labels) {
      uint16_t* first = turned ? as_given.as<uint16_t>() : of_image;
      threads.for_voxels(voxels).loop(voxels, 1 << 16, [&](int64_t begin, int64_t end) {
        classify(target, n, begin, end, first + begin);
      });
      if (turned) turned.turn(first, 2, of_image, threads.for_voxels(voxels));
    }
    if (!may_ignore) continue;
    uint64_t* bits = known.as<uint64_t>() + n * plane;
    if (labels) {
      const int64_t ignored = count_rows(image, Threads{1}, [&](int64_t row) {
        return kernels().pack_equal(of_image + row * image.width, kIgnoredClass, image.width, bits + row * image.words);
      });
      known_count[size_t(n)] = voxels - ignored;
      each_word(image, bits, [&](int64_t at, uint64_t mask) { return ~bits[at] & mask; });
    } else {
      const TurnedCopy valid(turned, target.valid + n * voxels, 1, Threads{1});
      known_count[size_t(n)] = pack_rows(image, valid.data(), Element::kU8, Predicate::kNonzero, bits, Threads{1});
    }
  }

  for_each_image(target.images * target.maps, voxels, threads, [&](int64_t unit, Threads here) {
    const int64_t n = unit / target.maps, j = unit % target.maps;
    const uint64_t* known_bits = known_count[size_t(n)] < voxels ? known.as<uint64_t>() + n * plane : nullptr;
    Buffer fg(plane * 8);
    uint64_t* bits = fg.as<uint64_t>();
    int64_t count;
    if (labels) {
      const uint16_t* of_image = classes.as<uint16_t>() + n * voxels;
      count = count_rows(image, here, [&](int64_t row) {
        return kernels().pack_equal(of_image + row * image.width, uint16_t(target.first_class + j), image.width,
                                    bits + row * image.words);
      });
    } else {
      const TurnedCopy channel(turned, target.channel(n, j), element_bytes(target.type), here);
      count = pack_rows(image, channel.data(), target.type, target.predicate(), bits, here);
      if (known_bits) {
        count = 0;
        each_word(image, bits, [&](int64_t at, uint64_t) {
          const uint64_t word = bits[at] & known_bits[at];
          count += __builtin_popcountll(word);
          return word;
        });
      }
    }
    const Metric metric = turned.metric(spacing.of(n), float64);
    const bool constant = !known_bits && (count == 0 || (count == voxels && !options.border));
    const int64_t bytes = float64 ? 8 : 4;
    const TurnedResult map(turned, constant, bytes, static_cast<char*>(maps) + unit * voxels * bytes);
    if (float64) SignedMap<double>(image, metric, options, map.data(), here).compute(bits, count, known_bits, known_count[size_t(n)]);
    else SignedMap<float>(image, metric, options, map.data(), here).compute(bits, count, known_bits, known_count[size_t(n)]);
    map.finish(here);
  });
}

}  // namespace fastdist
