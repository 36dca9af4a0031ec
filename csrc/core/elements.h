// The element types of what users pass in, and the words that kernels on every processor share.
#pragma once

#include <cstdint>

namespace fastdist {

enum class Element { kBool, kU8, kI8, kI16, kI32, kI64, kU16, kU32, kU64, kF16, kBF16, kF32, kF64 };

#if defined(__GNUC__)
__attribute__((always_inline))
#endif
constexpr int64_t element_bytes(Element type) {
  switch (type) {
    case Element::kBool: case Element::kU8: case Element::kI8: return 1;
    case Element::kI16: case Element::kU16: case Element::kF16: case Element::kBF16: return 2;
    case Element::kI32: case Element::kU32: case Element::kF32: return 4;
    default: return 8;
  }
}

enum class Predicate { kNonzero, kAboveHalf };

// The classes of a label image stand in 16 bits, one of them taken.
constexpr uint16_t kIgnoredClass = 65535;
constexpr int64_t kMostClasses = 65535;

struct LabelRange {
  Element type;
  int64_t classes;      // labels must lie in [0, classes)
  bool has_ignore;
  int64_t ignore;
};

enum class Activation { kNone, kSigmoid, kSoftmax };

}  // namespace fastdist
