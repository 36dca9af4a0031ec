// Launches: a kernel over a grid, one block after another, and how that is to be done.
#pragma once

#include <cstdint>
#include <string>

#include "module.h"
#include "warp.h"

namespace ptx {

struct Size {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t all() const { return uint64_t(x) * y * z; }
};

// Read from the environment once, changed by control.cpp.
struct Settings {
  Order order;     // FASTDIST_PTX_SCHEDULE: forward, reverse or shuffled
  uint32_t seed;   // of shuffled
  bool races;      // FASTDIST_PTX_RACES: watched for, unless it is 0
  bool costs;      // sectors and waves are counted
  int target;      // FASTDIST_PTX_ARCH: 90 for 9.0
};
Settings& settings();

// "" where a number or a name of the environment is not set.
std::string environment(const char* name);
int64_t environment(const char* name, int64_t otherwise);

// Throws Fault or Error.
void launch(Kernel& kernel, Size grid, Size block, void** arguments, uint32_t dynamic_shared);

}  // namespace ptx
