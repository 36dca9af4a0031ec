// The memory of a launch: where an address leads, who has touched it since threads were last ordered, and what it costs.
//
// Threads of a block are ordered by bar.sync (and bar.red), lanes of a warp by bar.warp.sync of all of them too, and by nothing
// else: a shuffle or a vote is no fence. Shared memory is watched by words, by bytes where a kernel writes less than a word at a
// time; global memory that a launch may write, by words, where it is accessed by words: blocks of one launch are never ordered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "instruction.h"

namespace ptx {

// Memory that kernels may touch: arguments, results and scratch of a call, variables of a module.
struct Range {
  const char* begin;
  uint64_t bytes;
  bool writable;
};

// Who touched a word last. Several readers of one warp are told apart, those of several warps are not.
struct Access {
  uint32_t block = 0;  // a number of its own for each block of each launch; 0: nobody
  uint32_t epoch = 0;  // barriers of the block before it
  uint32_t syncs = 0;  // of the warp before it
  uint32_t lanes = 0;
  int16_t warp = -1;
  bool atomic = false, several_warps = false, several_blocks = false;
};

struct Shadow {
  Access write, read;
};

class Memory {
 public:
  // `races`: watch for them.
  Memory(const Kernel& kernel, uint32_t dynamic_shared, void** arguments, uint32_t threads, std::vector<Range> ranges, bool races);

  void begin_block();
  void barrier() { ++epoch_; }

  // Host address of what a lane accesses; faults where it may not.
  char* resolve(Warp& warp, const Instruction& instruction, int lane);

  char* parameters() { return parameters_; }
  uint64_t shared_begin() const { return kSharedBegin; }
  uint32_t dynamic_begin() const { return dynamic_begin_; }

  // Adds sectors or waves of one access by these lanes.
  void count(Warp& warp, const Instruction& instruction, uint32_t lanes, Count* count) const;

 private:
  static constexpr uint32_t kSharedBegin = 1024;  // as CUDA keeps the first kilobyte for itself

  char* global(Warp& warp, const Instruction& instruction, int lane, uint64_t address);
  void watch(Warp& warp, const Instruction& instruction, int lane, Shadow& shadow, const char* space, uint64_t place);
  bool ordered(const Access& before, const Warp& warp, int lane) const;

  const Kernel& kernel_;
  const bool races_;
  uint32_t shared_bytes_, dynamic_begin_;
  std::vector<char> shared_storage_, parameter_storage_, local_;
  char *shared_, *parameters_;
  std::vector<Range> ranges_;
  size_t last_ = 0;  // the range of the last access
  std::vector<std::vector<Shadow>> global_shadows_;
  std::vector<Shadow> shared_shadow_;
  uint32_t shared_shift_;  // bytes to words of the shadow
  uint32_t first_block_, block_, epoch_ = 0;
};

// Handlers of ld, st, atom and red, by what they move; null where there is none.
Handler load_handler(int bytes, bool is_signed);
Handler store_handler(int bytes);
Handler atomic_handler(const std::string& operation, const std::string& type);

// The memory that launches from now on may touch (csrc/cuda/stand_in.h).
void register_range(const void* memory, int64_t bytes, bool writable);
void forget_range(const void* memory, int64_t bytes);
std::vector<Range> registered_ranges();

}  // namespace ptx
