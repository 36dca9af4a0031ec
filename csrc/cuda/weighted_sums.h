// The reductions of the loss on the GPU: sums of probability times map per image and class, and their gradient.
//
// All pointers are of the current device's memory. What csrc/cpu/weighted_sums.h does, but for what a GPU cannot ask without
// waiting: a label that names no class is ignored, and so is an image whose spacing is not finite and above zero.
#pragma once

#include "../core/arguments.h"
#include "launch.h"

namespace fastdist::cuda {

// Bytes of memory that weighted_sums needs beside its outputs; aligned to 8.
int64_t weighted_sums_scratch(const Logits& logits, const Target& target);

// sums, perfect: [images][maps], float or (double logits) double. counts: [images]. maps: [images][maps][voxels].
// item_spacing: [images][ndim], or null.
void weighted_sums(const Logits& logits, const void* maps, const Target& target, void* sums, int64_t* counts, void* perfect,
                   const double* item_spacing, int ndim, void* scratch, Stream stream);

// gradient: the logits' type and strides.
void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                            void* gradient, const double* item_spacing, int ndim, Stream stream);

}  // namespace fastdist::cuda
