// The reductions of the loss on the CPU: sums of probability times map per image and class, and their gradient.
#pragma once

#include "signed_maps.h"

namespace fastdist {

// sums, perfect: [images][maps], float or (double logits) double. counts: [images]. maps: [images][maps][voxels].
void weighted_sums(const Logits& logits, const void* maps, const Target& target, void* sums, int64_t* counts,
                   void* perfect, Threads threads);

// gradient: the logits' type and strides.
void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                            void* gradient, Threads threads);

}  // namespace fastdist
