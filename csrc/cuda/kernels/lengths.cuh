// What each image's spacing makes of its distances, where the spacings stand in a tensor: asked on the device.
#pragma once

#include "units.cuh"

namespace fastdist::cuda {

struct LengthsArguments {
  const double* spacing;  // [images][ndim]
  int64_t images;
  int ndim;
  double size[64];        // of the image, in voxels
  int zero;               // the numbers that depend on the spacing: see core/conventions.h
  bool empty_diagonal, full_diagonal;
  double empty, full;
  Lengths* lengths;       // [images]
  double* weights;        // [images][ndim]
};

// One thread an image. The order of operations is make_metric's and shifts_of's (csrc/core).
FASTDIST_KERNEL FASTDIST_BOUNDS(128, 1) void make_lengths(LengthsArguments a) {
  const int64_t image = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (image >= a.images) return;
  const double* spacing = a.spacing + image * a.ndim;
  bool usable = true;
  double smallest = a.ndim > 0 ? spacing[0] : 1.0, diagonal = 0;
  for (int axis = 0; axis < a.ndim; ++axis) {
    const double h = spacing[axis];
    usable = usable && h > 0 && h <= 1.7976931348623157e308;
    smallest = h < smallest ? h : smallest;
    diagonal += a.size[axis] * h * a.size[axis] * h;
    a.weights[image * a.ndim + axis] = h * h;
  }
  diagonal = __dsqrt_rn(diagonal);
  Lengths lengths{1, 0, 0, diagonal, a.empty_diagonal ? diagonal : a.empty, a.full_diagonal ? -diagonal : a.full, usable};
  if (a.zero == 0) lengths.inside_shift = smallest;                                    // shifted
  else if (a.zero == 1) lengths.inside_shift = 1;                                      // unit
  else if (a.zero == 3) lengths.inside_shift = lengths.outside_shift = smallest / 2;   // midpoint
  a.lengths[image] = lengths;
}

}  // namespace fastdist::cuda
