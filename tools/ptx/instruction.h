// Kernels as they are executed: PTX's instructions with their registers as places in a warp's register file.
//
// A register is 32 lanes wide: a number of 1 to 8 bytes for each of them, a predicate one bit for each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ptx {

constexpr int kLanes = 32;
constexpr uint32_t kAll = ~0u;   // lanes
constexpr uint32_t kNone = ~0u;  // no register

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, uint32_t lanes);

enum class Kind : uint8_t { kPlain, kMemory, kBranch, kExit, kShuffle, kVote, kWarpSync, kBarrier };
enum class Space : uint8_t { kGeneric, kGlobal, kShared, kParam, kLocal };

// Of shuffles, votes and barriers.
enum class Mode : uint8_t { kSync, kUp, kDown, kButterfly, kIndex, kAny, kAllOf, kUniform, kBallot, kCount };

// A line of a source file, by -lineinfo; file 0: unknown.
struct Place {
  int file = 0, line = 0;
  bool operator==(const Place&) const = default;
};

// A vector of numbers in memory: each has a register of its own, which may be wider.
struct Vector {
  uint8_t count = 1, bytes = 0;
  bool is_signed = false;
  uint32_t element[4] = {};
  uint8_t width[4] = {};
  uint32_t size() const { return uint32_t(bytes) * count; }
};

struct Instruction {
  Handler run = nullptr;
  Kind kind = Kind::kPlain;
  Mode mode = Mode::kSync;
  uint32_t operand[5] = {kNone, kNone, kNone, kNone, kNone};  // the destination first
  uint32_t second = kNone;                                    // a second destination, a predicate
  uint32_t guard = kNone;                                     // a predicate: for which lanes
  bool negated = false;                                       // the guard
  bool negated_source = false;                                // of a vote
  uint32_t target = 0;                                        // of a branch
  uint32_t left_out = 0;                                      // members of a collective that a test takes out (plant.h)

  Space space = Space::kGeneric;  // memory: at operand[1] + offset
  bool writes = false, atomic = false, wide_address = true;
  int64_t offset = 0;
  Vector data;

  int line = 0;  // of the PTX
  Place at, inlined_at;
  const char* opcode = "";
};

// What an instruction has cost, over all launches: of a warp, or of a group of its lanes.
struct Count {
  uint64_t executed = 0, lanes = 0, sectors_read = 0, sectors_written = 0, waves = 0;
};

struct Module;

struct Kernel {
  std::string name, readable;
  Module* module = nullptr;
  std::vector<Instruction> code;
  uint32_t register_bytes = 0, parameter_bytes = 0, static_shared = 0, local_bytes = 0;
  bool small_stores = false;  // it writes less than four bytes of shared memory at a time

  struct Parameter {
    uint32_t offset, bytes;
  };
  std::vector<Parameter> parameters;

  struct Constant {
    uint32_t place, bytes;  // of 0 bytes: a predicate
    uint64_t bits;
  };
  std::vector<Constant> constants;

  struct Special {
    uint32_t place;
    int which;  // of special_names()
  };
  std::vector<Special> specials;

  struct Pointer {
    uint32_t place, bytes;
    Space space;
    bool behind_static;  // the dynamic shared memory
    int64_t value;
  };
  std::vector<Pointer> pointers;

  std::vector<Count> counts;  // of each instruction
  uint64_t launches = 0, blocks = 0, threads = 0;
};

}  // namespace ptx
