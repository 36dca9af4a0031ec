// From elements to bits: one row at a time, 64 voxels to a word.
#pragma once

#include "half.h"

namespace fastdist::FASTDIST_LEVEL {

// Half-precision numbers are read as their bit patterns; positive ones are ordered like integers.
template <class T> FASTDIST_INLINE bool is_nonzero(T x) { return x != 0; }
template <> FASTDIST_INLINE bool is_nonzero(Half x) { return (x.bits & 0x7fff) != 0; }
template <> FASTDIST_INLINE bool is_nonzero(BFloat x) { return (x.bits & 0x7fff) != 0; }

template <class T> FASTDIST_INLINE bool is_above_half(T x) { return x > T(0.5); }  // integers: > 0
template <> FASTDIST_INLINE bool is_above_half(Half x) { return x.bits > 0x3800 && x.bits <= 0x7c00; }
template <> FASTDIST_INLINE bool is_above_half(BFloat x) { return x.bits > 0x3f00 && x.bits <= 0x7f80; }

template <class T> FASTDIST_INLINE bool differ(T a, T b) { return a != b; }
FASTDIST_INLINE bool differ(Half a, Half b) {
  return (a.bits != b.bits && ((a.bits | b.bits) & 0x7fff) != 0) || (a.bits & 0x7fff) > 0x7c00;
}
FASTDIST_INLINE bool differ(BFloat a, BFloat b) {
  return (a.bits != b.bits && ((a.bits | b.bits) & 0x7fff) != 0) || (a.bits & 0x7fff) > 0x7f80;
}

FASTDIST_INLINE uint64_t bits_of_flags(const uint8_t* flags) {
#if defined(__AVX512BW__)
  __m512i v = _mm512_load_si512(flags);
  return _mm512_test_epi8_mask(v, v);
#elif defined(__AVX2__)
  const __m256i zero = _mm256_setzero_si256();
  auto part = [&](const uint8_t* at) __attribute__((always_inline)) {
    return ~uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_load_si256((const __m256i*)at), zero)));
  };
  return part(flags) | uint64_t(part(flags + 32)) << 32;
#else
  uint64_t bits = 0;
  for (int byte = 0; byte < 8; ++byte) {
    uint64_t eight;  // each byte 0 or 1; the product gathers them in its top byte
    __builtin_memcpy(&eight, flags + 8 * byte, 8);
    bits |= (eight * 0x0102040810204080ull >> 56) << (8 * byte);
  }
  return bits;
#endif
}

// Bits of flag(i) for 0 <= i < count, into words_per_row(count) words; returns how many are set.
template <class Flag>
FASTDIST_INLINE int64_t pack_flags(int64_t count, uint64_t* bits, const Flag& flag) {
  int64_t set = 0, i = 0;
  alignas(64) uint8_t flags[64];
  for (; i + 64 <= count; i += 64) {
    for (int k = 0; k < 64; ++k) flags[k] = flag(i + k);
    const uint64_t word = bits_of_flags(flags);
    *bits++ = word;
    set += __builtin_popcountll(word);
  }
  uint64_t word = 0;
  for (int64_t k = i; k < count; ++k) word |= uint64_t(flag(k)) << (k - i);
  *bits = word;
  return set + __builtin_popcountll(word);
}

template <class Visit>
FASTDIST_INLINE auto with_element(Element type, const Visit& visit) {
  switch (type) {
    case Element::kBool:
    case Element::kU8: return visit(uint8_t{});
    case Element::kI8: return visit(int8_t{});
    case Element::kI16: return visit(int16_t{});
    case Element::kI32: return visit(int32_t{});
    case Element::kI64: return visit(int64_t{});
    case Element::kU16: return visit(uint16_t{});
    case Element::kU32: return visit(uint32_t{});
    case Element::kU64: return visit(uint64_t{});
    case Element::kF16: return visit(Half{});
    case Element::kBF16: return visit(BFloat{});
    case Element::kF32: return visit(float{});
    default: return visit(double{});
  }
}

inline int64_t pack(const void* source, Element type, Predicate predicate, int64_t count, uint64_t* bits) {
  return with_element(type, [&](auto tag) {
    using T = decltype(tag);
    const T* x = static_cast<const T*>(source);
    if (predicate == Predicate::kNonzero) return pack_flags(count, bits, [=](int64_t i) { return is_nonzero(x[i]); });
    return pack_flags(count, bits, [=](int64_t i) { return is_above_half(x[i]); });
  });
}

inline int64_t pack_equal(const uint16_t* classes, uint16_t wanted, int64_t count, uint64_t* bits) {
  return pack_flags(count, bits, [=](int64_t i) { return classes[i] == wanted; });
}

inline int64_t pack_differ(const void* left, const void* right, Element type, int64_t count, uint64_t* bits) {
  return with_element(type, [&](auto tag) {
    using T = decltype(tag);
    const T* a = static_cast<const T*>(left);
    const T* b = static_cast<const T*>(right);
    return pack_flags(count, bits, [=](int64_t i) { return differ(a[i], b[i]); });
  });
}

// Labels of any type to compact classes; kIgnoredClass for ignored voxels. Returns the first voxel whose label is not a
// whole number in [0, classes), or -1.
inline int64_t classify(const void* source, const LabelRange& range, const uint8_t* valid, int64_t count, uint16_t* out) {
  return with_element(range.type, [&](auto tag) {
    using T = decltype(tag);
    const T* x = static_cast<const T*>(source);
    int64_t first_bad = -1;
    constexpr int64_t chunk = 4096;
    for (int64_t begin = 0; begin < count && first_bad < 0; begin += chunk) {
      const int64_t end = begin + chunk < count ? begin + chunk : count;
      int bad = 0;
      for (int64_t i = begin; i < end; ++i) {
        uint64_t label;
        bool whole = true;
        if constexpr (__is_same(T, float) || __is_same(T, double) || __is_same(T, Half) || __is_same(T, BFloat)) {
          const double value = widen<double>(x[i]);
          whole = value >= -0x1p31 && value <= 0x1p31 && double(int64_t(value)) == value;
          label = whole ? uint64_t(int64_t(value)) : ~uint64_t(0);
        } else {
          label = uint64_t(int64_t(x[i]));
        }
        const bool ignored = (valid && !valid[i]) | (range.has_ignore & whole & (label == uint64_t(range.ignore)));
        bad |= !ignored & (label >= uint64_t(range.classes));
        out[i] = ignored ? kIgnoredClass : uint16_t(label);
      }
      if (!bad) continue;
      for (int64_t i = begin; i < end && first_bad < 0; ++i) {
        double value;
        if constexpr (__is_same(T, float) || __is_same(T, double) || __is_same(T, Half) || __is_same(T, BFloat))
          value = widen<double>(x[i]);
        else
          value = double(x[i]);
        const bool ignored = (valid && !valid[i]) || (range.has_ignore && value == double(range.ignore));
        const bool inside = value >= 0 && value < double(range.classes) && double(int64_t(value)) == value;
        if (!ignored && !inside) first_bad = i;
      }
    }
    return first_bad;
  });
}

}  // namespace fastdist::FASTDIST_LEVEL
