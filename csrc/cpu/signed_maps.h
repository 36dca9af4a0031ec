// Signed distance maps of masks, channels and integer labels on the CPU.
#pragma once

#include "edt.h"

namespace fastdist {

// Labels as compact classes, checked: throws std::invalid_argument for a label out of range.
void classify(const Target& target, int64_t image, int64_t begin, int64_t end, uint16_t* classes);

// maps: [images][maps][shape], float or double.
void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, const char* spacing_name,
                 bool float64, void* maps, Threads threads);

}  // namespace fastdist
