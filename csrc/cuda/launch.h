// The one way to start a kernel, for CUDA and (csrc/emulator/launch.h) for the emulator.
//
//   launch("columns", columns<float>, Grid{blocks, threads, shared_bytes}, stream, arguments...);
//
// Errors of the launch throw std::runtime_error with the kernel's name and what to do.
#pragma once

#include <cstdint>

#include "device.h"

namespace fastdist {

struct Grid {
  int64_t blocks;           // one-dimensional, up to 2^31 - 1; none: nothing is launched
  int threads;              // of a block: a multiple of 32, at most 1024
  int64_t shared_bytes = 0; // dynamic
};

// What the host code asks of the current device.
struct Device {
  int multiprocessors;
  int64_t shared_bytes;     // that a block can have
};

}  // namespace fastdist

#if defined(FASTDIST_EMULATOR)

#include "../emulator/launch.h"

#else

namespace fastdist {

using Stream = cudaStream_t;

// Of this thread, for the runtime that is linked into this library: torch has one of its own.
void use_device(int device);

Device current_device();

// Throws what an earlier kernel has done to the device.
void check_device();

// Sets memory to zero bytes, in the stream's order.
void clear(void* memory, int64_t bytes, Stream stream);

void launch_kernel(const char* name, const void* kernel, const Grid& grid, Stream stream, void** arguments);

template <class... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, Stream stream, Parameters... arguments) {
  void* pointers[] = {static_cast<void*>(&arguments)...};
  launch_kernel(name, reinterpret_cast<const void*>(kernel), grid, stream, pointers);
}

}  // namespace fastdist

#endif
