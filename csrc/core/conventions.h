// Signed maps: the named conventions (fastdist/conventions.py documents them) as numbers.
#pragma once

#include <stdexcept>
#include <string>

namespace fastdist {

enum class Zero { kShifted, kUnit, kInner, kMidpoint, kNone };
enum class Normalize { kNone, kMax, kDiagonal };

struct Shifts {
  double inside, outside;
};

// Inside: shift - distance. Outside: distance - shift. h is the smallest spacing.
inline Shifts shifts_of(Zero zero, double h) {
  switch (zero) {
    case Zero::kShifted: return {h, 0};
    case Zero::kUnit: return {1, 0};
    case Zero::kMidpoint: return {h / 2, h / 2};
    default: return {0, 0};
  }
}

inline Zero zero_of(const std::string& name) {
  if (name == "shifted") return Zero::kShifted;
  if (name == "unit") return Zero::kUnit;
  if (name == "inner") return Zero::kInner;
  if (name == "midpoint") return Zero::kMidpoint;
  if (name == "none") return Zero::kNone;
  throw std::invalid_argument("zero: got '" + name + "', expected 'shifted', 'unit', 'inner', 'midpoint' or 'none'");
}

inline Normalize normalize_of(const std::string& name) {
  if (name == "none") return Normalize::kNone;
  if (name == "max") return Normalize::kMax;
  if (name == "diagonal") return Normalize::kDiagonal;
  throw std::invalid_argument("normalize: got '" + name + "', expected 'none', 'max' or 'diagonal'");
}

}  // namespace fastdist
