// Launching on the emulator: what csrc/cuda/launch.h promises, synchronously, one launch at a time.
#pragma once

#include <cstdint>
#include <type_traits>

#include "device.h"

namespace fastdist {

struct Stream {};

// FASTDIST_EMULATOR_MULTIPROCESSORS (default 4) and FASTDIST_EMULATOR_SHARED_BYTES (default 227 KB), which small values
// make use the ways of large images.
Device current_device();

void clear(void* memory, int64_t bytes, Stream stream);

namespace emulator {
void run(const char* name, const Grid& grid, void (*call)(const void* closure), const void* closure);
}  // namespace emulator

template <class... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, Stream, Parameters... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "arguments of a kernel travel as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "CUDA before 12.1 takes no more");
  const auto thread = [&] { kernel(arguments...); };
  emulator::run(name, grid, [](const void* closure) { (*static_cast<decltype(&thread)>(closure))(); }, &thread);
}

}  // namespace fastdist
