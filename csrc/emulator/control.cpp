// What the host may ask of the library through C (fastdist/providers/emulator.py): the schedule, and the counters.
#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>

#include "engine.h"
#include "schedule.h"

#define FASTDIST_EXPORT extern "C" __attribute__((visibility("default")))

namespace fastdist::emulator {
namespace {

Counter* counters = nullptr;
thread_local std::string answer;  // until the thread's next call

}  // namespace

// Within a launch, which admits no other.
Counter::Counter(const char* name) : name(name), next(counters) { counters = this; }

}  // namespace fastdist::emulator

namespace emulator = fastdist::emulator;

// "forward", "reverse" or "shuffled"; "" for FASTDIST_EMULATOR_SCHEDULE's. Null where it worked, else why not.
FASTDIST_EXPORT const char* fastdist_emulator_set_schedule(const char* name, uint64_t seed) {
  try {
    emulator::set_schedule(name, seed);
    return nullptr;
  } catch (const std::exception& error) {
    emulator::answer = error.what();
    return emulator::answer.c_str();
  }
}

FASTDIST_EXPORT void fastdist_emulator_reset_counters() {
  const std::lock_guard<std::mutex> no_launch(emulator::launch_lock);
  for (emulator::Counter* counter = emulator::counters; counter != nullptr; counter = counter->next) counter->value = 0;
}

// JSON: {"name": value, ...}
FASTDIST_EXPORT const char* fastdist_emulator_counters() {
  const std::lock_guard<std::mutex> no_launch(emulator::launch_lock);
  std::map<std::string, uint64_t> sums;
  for (emulator::Counter* counter = emulator::counters; counter != nullptr; counter = counter->next)
    sums[counter->name] += counter->value;
  emulator::answer = "{";
  for (const auto& [name, sum] : sums)
    emulator::answer += (emulator::answer.size() > 1 ? ", \"" : "\"") + name + "\": " + std::to_string(sum);
  emulator::answer += "}";
  return emulator::answer.c_str();
}
