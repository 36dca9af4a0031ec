// In which order the blocks of a grid, and the threads of a block that could go on, take their turns.
//
//   forward   blocks, warps and lanes ascending; a warp runs on until all its lanes wait for other warps
//   reverse   the same, descending
//   shuffled  blocks in random order; any warp that could go on, then any of its lanes in any order, and again
//
// What a right kernel computes is the same under all of them. Each has its own poison, so that what depends on memory
// that nobody wrote differs as well.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace fastdist::emulator {

extern std::mutex launch_lock;  // held by a launch, and by whoever asks for what launches leave behind: counters

enum class Order : uint8_t { kForward, kReverse, kShuffled };

// splitmix64 (Steele, Lea and Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
  }
  uint32_t below(uint32_t bound) { return uint32_t((next() >> 32) * bound >> 32); }

 private:
  uint64_t state_;
};

// FASTDIST_EMULATOR_SCHEDULE, _SEED and _CHECK, unless set by the functions of control.cpp.
struct Settings {
  Order order = Order::kForward;
  uint64_t seed = 0;
  bool check = false;  // canaries after every turn
};

Settings current_settings();

// An empty name: the environment's from now on. std::runtime_error for an unknown one.
void set_schedule(const std::string& name, uint64_t seed);

// Another order for each launch, the same ones again after set_schedule and in each process.
Random random_of_next_launch(const Settings& settings);

// "schedule shuffled, seed 1", for messages.
std::string text_of(const Settings& settings);
uint8_t poison_of(const Settings& settings);

// The blocks in this launch's order; empty where they simply ascend or descend.
std::vector<uint32_t> shuffled_blocks(uint32_t blocks, Random& random);

}  // namespace fastdist::emulator
