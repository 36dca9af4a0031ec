// CUDA's words for kernels that are compiled as C++ and run on a CPU: what csrc/cuda/device.h promises.
//
// A thread runs without interruption from one barrier or warp collective to the next; in which order the threads take
// their turns is the schedule's choice (schedule.h). Nothing waits for memory to change: a kernel that spins hangs.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine.h"
#include "intrinsics.h"

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define FASTDIST_KERNEL
#define FASTDIST_DEVICE inline
#define FASTDIST_BOUNDS(threads, blocks)
// Aligned to 16 bytes and no more.
#define FASTDIST_SHARED(name) [[maybe_unused]] char* const name = ::fastdist::emulator::shared_memory
#define FASTDIST_COUNT(name, amount)                             \
  do {                                                           \
    static ::fastdist::emulator::Counter fastdist_counter(name); \
    fastdist_counter.value += static_cast<uint64_t>(amount);     \
  } while (false)

inline const uint3& threadIdx = ::fastdist::emulator::thread_index;
inline const uint3& blockIdx = ::fastdist::emulator::block_index;
inline const dim3& blockDim = ::fastdist::emulator::block_size;
inline const dim3& gridDim = ::fastdist::emulator::grid_size;
constexpr int warpSize = 32;

namespace fastdist {

template <class T>
inline T opaque(T number) {
  return number;
}

inline float rough_reciprocal_root(float x) { return float(1 / ::sqrt(double(x))); }
inline uint32_t shift_to_highest(uint32_t bits) { return bits == 0 ? 0xffffffffu : uint32_t(__clz(int(bits))); }
inline bool has_bit(uint32_t bits, int k) { return bits >> k & 1; }
template <class T>
void store_if(uint32_t condition, T* to, T value) {
  if (condition) *to = value;
}
inline uint32_t shared_address(const void* pointer) {
  return uint32_t(static_cast<const char*>(pointer) - emulator::shared_memory);
}
template <class T>
void load_shared(uint32_t address, T* value) {
  *value = *reinterpret_cast<const T*>(emulator::shared_memory + address);
}
inline bool has_pairs() { return emulator::has_pairs; }

}  // namespace fastdist

namespace fastdist::emulator {

// The types that shuffles take.
template <class T>
concept Shuffled = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, long> ||
                   std::is_same_v<T, unsigned long> || std::is_same_v<T, long long> ||
                   std::is_same_v<T, unsigned long long> || std::is_same_v<T, float> || std::is_same_v<T, double>;

template <class T>
T exchange_as(Collective kind, unsigned mask, T value, int operand, int width, const Site& site) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange({kind, sizeof(T), width, operand, mask, bits}, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace fastdist::emulator

// --- The block. Each word's last argument is the place it is called from, for the messages. ---------------------------

namespace fastdist_emulator = ::fastdist::emulator;  // shorter
#define FASTDIST_SITE const fastdist_emulator::Site& site = fastdist_emulator::Site::current()

inline void __syncthreads(FASTDIST_SITE) {
  fastdist_emulator::wait_at_barrier(fastdist_emulator::Barrier::kSync, 0, site);
}

inline int __syncthreads_or(int predicate, FASTDIST_SITE) {
  return fastdist_emulator::wait_at_barrier(fastdist_emulator::Barrier::kOr, predicate, site);
}

inline int __syncthreads_and(int predicate, FASTDIST_SITE) {
  return fastdist_emulator::wait_at_barrier(fastdist_emulator::Barrier::kAnd, predicate, site);
}

inline int __syncthreads_count(int predicate, FASTDIST_SITE) {
  return fastdist_emulator::wait_at_barrier(fastdist_emulator::Barrier::kCount, predicate, site);
}

// --- The warp. --------------------------------------------------------------------------------------------------------

inline void __syncwarp(unsigned mask = 0xffffffffu, FASTDIST_SITE) {
  fastdist_emulator::exchange_as(fastdist_emulator::Collective::kSync, mask, 0u, 0, 32, site);
}

template <fastdist_emulator::Shuffled T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, FASTDIST_SITE) {
  return fastdist_emulator::exchange_as(fastdist_emulator::Collective::kShuffle, mask, value, lane, width, site);
}

template <fastdist_emulator::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, FASTDIST_SITE) {
  return fastdist_emulator::exchange_as(fastdist_emulator::Collective::kShuffleUp, mask, value, int(delta), width, site);
}

template <fastdist_emulator::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, FASTDIST_SITE) {
  return fastdist_emulator::exchange_as(fastdist_emulator::Collective::kShuffleDown, mask, value, int(delta), width, site);
}

template <fastdist_emulator::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, FASTDIST_SITE) {
  return fastdist_emulator::exchange_as(fastdist_emulator::Collective::kShuffleXor, mask, value, lanes, width, site);
}

#define FASTDIST_EMULATOR_WARP_WORD(result, name, argument, kind)                                             \
  inline result name(unsigned mask, argument value, FASTDIST_SITE) {                                          \
    using fastdist_emulator::Collective;                                                                      \
    return static_cast<result>(fastdist_emulator::exchange_as(Collective::kind, mask, value, 0, 32, site));   \
  }

FASTDIST_EMULATOR_WARP_WORD(unsigned, __ballot_sync, int, kBallot)
FASTDIST_EMULATOR_WARP_WORD(int, __any_sync, int, kAny)
FASTDIST_EMULATOR_WARP_WORD(int, __all_sync, int, kAll)
FASTDIST_EMULATOR_WARP_WORD(int, __reduce_add_sync, int, kAddInt)
FASTDIST_EMULATOR_WARP_WORD(int, __reduce_min_sync, int, kMinInt)
FASTDIST_EMULATOR_WARP_WORD(int, __reduce_max_sync, int, kMaxInt)
FASTDIST_EMULATOR_WARP_WORD(unsigned, __reduce_add_sync, unsigned, kAddUnsigned)
FASTDIST_EMULATOR_WARP_WORD(unsigned, __reduce_min_sync, unsigned, kMinUnsigned)
FASTDIST_EMULATOR_WARP_WORD(unsigned, __reduce_max_sync, unsigned, kMaxUnsigned)
FASTDIST_EMULATOR_WARP_WORD(unsigned, __reduce_and_sync, unsigned, kAnd)
FASTDIST_EMULATOR_WARP_WORD(unsigned, __reduce_or_sync, unsigned, kOr)
FASTDIST_EMULATOR_WARP_WORD(unsigned, __reduce_xor_sync, unsigned, kXor)

template <fastdist_emulator::Shuffled T>
unsigned __match_any_sync(unsigned mask, T value, FASTDIST_SITE) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  using fastdist_emulator::Collective;
  return unsigned(fastdist_emulator::exchange({Collective::kMatchAny, sizeof(T), 32, 0, mask, bits}, site));
}

[[noreturn]] inline void __trap() { ::fastdist::emulator::fault("__trap()"); }

#undef FASTDIST_EMULATOR_WARP_WORD
#undef FASTDIST_SITE
