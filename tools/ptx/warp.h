// Warps and blocks while they run: lanes at one program counter form a group, and groups that meet become one again.
#pragma once

#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "instruction.h"
#include "memory.h"

namespace ptx {

struct Group {
  uint32_t pc, lanes;
  bool waits;  // for the other lanes of a collective or of a barrier
};

struct Block;

struct Warp {
  char* registers;
  Block* block;
  int index;
  uint32_t alive = 0;
  std::vector<Group> groups;
  uint32_t syncs = 0;       // how often all its lanes have been ordered
  uint32_t barrier = 0;     // the program counter of the one it waits at
  bool at_barrier = false, done = false;

  template <class T>
  T* at(uint32_t place) {
    return reinterpret_cast<T*>(registers + place);
  }
  uint32_t& predicate(uint32_t place) { return *at<uint32_t>(place); }
  uint64_t get(uint32_t place, int bytes, int lane);
  void set(uint32_t place, int bytes, int lane, uint64_t value);
};

struct Block {
  Kernel* kernel;
  Memory* memory;
  uint32_t index = 0;
  uint32_t warps = 0;
  bool costs = false;  // sectors and waves are counted
};

// A program error of a kernel's. Says kernel, block, thread, PTX line and source line.
struct Fault : std::runtime_error {
  using runtime_error::runtime_error;
};
[[noreturn]] void fault(const Warp& warp, const Instruction& instruction, int lane, const std::string& what);

// Runs the warp until it waits at a barrier, is done, or has executed so many instructions.
void run(Warp& warp, uint64_t budget);

// Runs all warps of a block to their end.
enum class Order { kForward, kReverse, kShuffled };
void run_block(std::vector<Warp>& warps, Order order, std::mt19937& random);

// What PTX calls lane, for messages.
inline int thread_of(const Warp& warp, int lane) { return warp.index * kLanes + lane; }

// Handlers of instructions that lanes do together.
void shuffle(Warp& warp, const Instruction& instruction, uint32_t lanes);
void vote(Warp& warp, const Instruction& instruction, uint32_t lanes);

}  // namespace ptx
