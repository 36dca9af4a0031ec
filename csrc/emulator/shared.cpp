// The shared memory's red zones and poison.
#include "shared.h"

#include <cstring>

#include "fiber.h"  // FASTDIST_EMULATOR_ASAN

namespace fastdist::emulator {

SharedMemory shared;

#if FASTDIST_EMULATOR_ASAN

char* SharedMemory::allocate(int64_t bytes) {
  release();
  bytes_ = size_t(bytes);
  memory_ = std::make_unique_for_overwrite<char[]>(2 * kRedZone + bytes_ + 64);
  const uintptr_t first = (reinterpret_cast<uintptr_t>(memory_.get()) + kRedZone + 31) / 32 * 32 + 16;
  begin_ = reinterpret_cast<char*>(first);
  __asan_poison_memory_region(begin_ - kRedZone, kRedZone);
  __asan_poison_memory_region(begin_ + bytes_, kRedZone);
  return begin_;
}

void SharedMemory::release() {
  if (begin_ != nullptr) __asan_unpoison_memory_region(begin_ - kRedZone, 2 * kRedZone + bytes_);
  memory_.reset();
  begin_ = nullptr;
}

bool SharedMemory::canaries_are_whole() const { return true; }

std::string SharedMemory::damage() const { return ""; }

#else

namespace {

// Not constant, so that neighbours differ.
char canary(size_t i) { return char(0xa5 + 31 * i); }

}  // namespace

char* SharedMemory::allocate(int64_t bytes) {
  release();
  bytes_ = size_t(bytes);
  memory_ = std::make_unique_for_overwrite<char[]>(2 * kRedZone + bytes_ + 64);
  const uintptr_t first = (reinterpret_cast<uintptr_t>(memory_.get()) + kRedZone + 31) / 32 * 32 + 16;
  begin_ = reinterpret_cast<char*>(first);
  for (size_t i = 0; i < kRedZone; ++i) {
    begin_[-1 - ptrdiff_t(i)] = canary(i);
    begin_[bytes_ + i] = canary(i);
  }
  return begin_;
}

void SharedMemory::release() {
  memory_.reset();
  begin_ = nullptr;
}

bool SharedMemory::canaries_are_whole() const {
  static const struct Pattern {
    Pattern() {
      for (size_t i = 0; i < kRedZone; ++i) {
        after[i] = canary(i);
        before[kRedZone - 1 - i] = canary(i);
      }
    }
    char before[kRedZone], after[kRedZone];
  } pattern;
  return std::memcmp(begin_ + bytes_, pattern.after, kRedZone) == 0 &&
         std::memcmp(begin_ - kRedZone, pattern.before, kRedZone) == 0;
}

std::string SharedMemory::damage() const {
  for (size_t i = 0; i < kRedZone; ++i)
    if (begin_[bytes_ + i] != canary(i)) return std::to_string(i) + " bytes behind its " + std::to_string(bytes_);
  for (size_t i = 0; i < kRedZone; ++i)
    if (begin_[-1 - ptrdiff_t(i)] != canary(i)) return std::to_string(i + 1) + " bytes before its first";
  return "";
}

#endif

void SharedMemory::poison(uint8_t value) { std::memset(begin_, value, bytes_); }

}  // namespace fastdist::emulator
