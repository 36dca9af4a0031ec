// Host side of the first step: images to planes of bits (kernels/bits.cuh), spacings to lengths (kernels/units.cuh).
#pragma once

#include "passes.h"

namespace fastdist::cuda {

struct Planes {
  RowWord* words;        // [units][count][rows][words]
  int count;             // of a unit
  const uint32_t* seen;  // [units][parts]; or null
  int parts;
};

// One plane an image: set where the mask is not zero.
Planes pack_masks(const Image& image, const void* data, Element type, int64_t images, bool border, const Context& context);

// Two or three planes a unit, one of each class of each image; one where no voxel can be ignored. The third is room for the
// boundary.
Planes pack_target(const Image& image, const Target& target, int planes, bool border, const Context& context);

// Parts that a unit's rows are packed in, and rows of each; a warp has `rows_of_warp` rows at a time.
struct Parts {
  int count;
  int64_t rows;
};
Parts parts_of(const Image& image, int64_t sets, int rows_of_warp);

// What a spacing makes of distances: for all images at once where the host knows it; else `unit` would be a fiction, and only
// the numbers that do not depend on it are right.
Metric metric_of(const Image& image, const Spacing& spacing, bool float64);

// For spacings in a tensor: each image's lengths, on the device. `options` is null for unsigned transforms.
void set_lengths_of_images(const Image& image, int64_t images, const Spacing& spacing, const SignedOptions* options,
                           const Context& context, Units* units);

}  // namespace fastdist::cuda
