// What device.h's words call: barriers and warp collectives of the block that is running, and where it is.
//
// Free of the engine's insides (block.h), because every kernel includes it.
#pragma once

#include <cstdint>
#include <source_location>

// CUDA's own vector of indices.
struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace fastdist::emulator {

using Site = std::source_location;  // the line of the kernel that calls

// Of the thread that is running; kernels read them as threadIdx and so on.
extern uint3 thread_index, block_index;
extern dim3 block_size, grid_size;
extern char* shared_memory;
extern bool has_pairs;  // what has_pairs() says: FASTDIST_EMULATOR_PAIRS, 1 unless it is 0

enum class Barrier : uint8_t { kSync, kOr, kAnd, kCount };

// __syncthreads and its kin: what every thread of the block gets.
int wait_at_barrier(Barrier kind, int predicate, const Site& site);

enum class Collective : uint8_t {
  kSync, kShuffle, kShuffleUp, kShuffleDown, kShuffleXor, kBallot, kAny, kAll, kMatchAny,
  kAddInt, kMinInt, kMaxInt, kAddUnsigned, kMinUnsigned, kMaxUnsigned, kAnd, kOr, kXor,
};

// What a lane brings to a warp collective.
struct Offer {
  Collective kind;
  uint8_t bytes;       // of the value
  int width = 32;      // of shuffles
  int operand = 0;     // of shuffles: lane, delta or lane mask
  uint32_t mask;
  uint64_t value;
};

// A warp collective: what this lane gets. Returns once all lanes of the mask have come.
uint64_t exchange(const Offer& offer, const Site& site);

// Ends the launch with an error that names kernel, block and thread (printf's format).
[[noreturn, gnu::format(printf, 1, 2)]] void fault(const char* format, ...);

// A counter of FASTDIST_COUNT: one for each place in the source; those of one name are added when they are read.
struct Counter {
  explicit Counter(const char* name);
  const char* name;
  uint64_t value = 0;
  Counter* next;
};

}  // namespace fastdist::emulator
