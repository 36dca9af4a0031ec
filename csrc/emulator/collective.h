// What the lanes of a warp collective get from what they offered.
#pragma once

#include <cstdint>

#include "engine.h"

namespace fastdist::emulator {

// CUDA's name of it, for messages.
const char* name_of(Collective kind);

bool is_shuffle(Collective kind);

// offers, results : [32], those of the lanes in `mask` count. All offers are of one kind and mask.
// What a shuffle reads from a lane outside of the mask is undefined: it gets bytes of `poison`.
void compute(const Offer* const* offers, uint32_t mask, uint8_t poison, uint64_t* results);

}  // namespace fastdist::emulator
