// What the passes know of the maps they make: a unit is one map, of an image or of one class of an image.
//
// Which units are constant, and whether any voxel of a unit is ignored, is decided here, on the device.
#pragma once

#include "bits.cuh"

namespace fastdist::cuda {

// What an image's spacing makes of distances; all lengths are physical.
struct Lengths {
  double scale;          // of one unit of the arithmetic
  double inside_shift;   // inside:  inside_shift - distance
  double outside_shift;  // outside: distance - outside_shift
  double diagonal;       // of the image
  double empty, full;    // the constant maps
  int usable;            // 0: a spacing is not finite and positive, the image counts as ignored
};

enum class Kind {
  kUnsigned,  // distance to the nearest voxel whose bit is clear
  kLabels,    // distance to the nearest voxel of another label
  kSigned,    // both sides of a class, plane 0 being "not inside", plane 1 "not outside", plane 2 "not on the boundary"
};

struct Units {
  Kind kind;
  int64_t maps;              // units of an image
  int planes;                // of a unit
  const uint32_t* seen;      // [units][parts], or null
  const uint32_t* boundary;  // [units][parts]: zero="inner"; or null
  int parts;
  bool border;               // the outside of the image is outside of every class
  Lengths lengths;           // of every image
  const Lengths* of_image;   // or of each; null otherwise
  const double* weights;     // [images][ndim]: squared spacings, with of_image
  int ndim;
};

struct Status {
  bool split;            // voxels may be neither inside nor outside: two one-sided transforms; else one two-sided
  bool constant;         // known voxels have `value`, whatever their distances
  bool inside_constant;  // voxels inside have `value`, since nothing encloses them
  double value;
};

FASTDIST_DEVICE const Lengths& lengths_of(const Units& units, int64_t unit) {
  return units.of_image ? units.of_image[unit / units.maps] : units.lengths;
}

FASTDIST_DEVICE double weight_of(const Units& units, int64_t unit, int axis, double shared) {
  return units.of_image ? units.weights[unit / units.maps * units.ndim + axis] : shared;
}

// Bits that any part has set. For whole warps: each reads them all, from L1, which is cheaper than to meet the others.
FASTDIST_DEVICE uint32_t all_seen(const uint32_t* parts, int count) {
  uint32_t seen = 0, all = 0;
#pragma unroll 4
  for (int part = int(threadIdx.x) & 31; part < count; part += 32) seen |= parts[part];
#pragma unroll
  for (uint32_t bit = 1; bit <= kSeenIgnored; bit *= 2) all |= __any_sync(0xffffffffu, (seen & bit) != 0) ? bit : 0;
  return all;
}

// For whole warps, each with one unit.
FASTDIST_DEVICE Status status_of(const Units& units, int64_t unit) {
  Status status{false, false, false, 0};
  const Lengths& lengths = lengths_of(units, unit);
  if (!lengths.usable) {
    status.constant = true;
  } else if (units.kind == Kind::kSigned) {
    const uint32_t seen = all_seen(units.seen + unit * units.parts, units.parts);
    const bool empty = !(seen & kSeenInside), full = !(seen & kSeenOutside) && !units.border;
    status.split = (seen & kSeenIgnored) || units.boundary;
    status.constant = empty || full;
    status.value = empty && !(seen & kSeenOutside) ? 0.0 : empty ? lengths.empty : lengths.full;
    if (!status.constant && units.boundary)
      status.inside_constant = !all_seen(units.boundary + unit * units.parts, units.parts);
  }
  return status;
}

}  // namespace fastdist::cuda
