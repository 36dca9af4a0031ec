// What is made of the parts: the library's kernels, launches over a grid, one block after another, and planted mistakes.
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

// runtime.cpp: reads and translates every kernel of the library for an architecture, such as 90; Error where that cannot be done.
void open_library(int target);

// A module of its own, translated; it lives as long as the process. And all kernels of all modules.
Module& load(const std::string& text);
std::vector<Kernel*> all_kernels();

// plant.cpp: a mistake that a test puts at an instruction of a kernel, to see whether it is found; and all are taken out again.
// "leave out": a barrier does nothing; one that votes answers for the lanes of the warp alone.
// "misalign": an access is half its size further on. "beyond": far outside of all memory.
// "mask": the lowest lane of a collective is not among its members.
void plant(const std::string& kernel, uint64_t place, const std::string& mistake);
void mend();

// Throws Fault or Error.
void launch(Kernel& kernel, Size grid, Size block, void** arguments, uint32_t dynamic_shared);

}  // namespace ptx
