// Runs the blocks of a launch, one after another, in the schedule's order.
#include "../cuda/launch.h"
#include "../cuda/stand_in.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "block.h"
#include "faults.h"
#include "schedule.h"
#include "shared.h"

namespace fastdist {
namespace {

constexpr int64_t kMaxBlocks = (int64_t(1) << 31) - 1;

int64_t environment(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : std::strtoll(value, nullptr, 0);
}

}  // namespace

Device current_device() {
  return {int(environment("FASTDIST_EMULATOR_MULTIPROCESSORS", 4)),
          environment("FASTDIST_EMULATOR_SHARED_BYTES", 227 * 1024)};
}

void clear(void* memory, int64_t bytes, Stream) {
  if (bytes > 0) std::memset(memory, 0, size_t(bytes));
}

// What cuda/stand_in.h asks for; which memory a call may touch only the address sanitizer watches here.
void register_memory(const void*, int64_t, bool) {}
void forget_memory(const void*, int64_t) {}

void poison(void* memory, int64_t bytes) {
  if (bytes > 0) std::memset(memory, emulator::poison_of(emulator::current_settings()), size_t(bytes));
}

namespace emulator {
namespace {

void refuse_unless(bool fine, const char* kernel, const std::string& what) {
  if (!fine) throw std::runtime_error("emulator: kernel " + std::string(kernel) + ": " + what);
}

}  // namespace

void run(const char* name, const Grid& grid, void (*call)(const void*), const void* closure) {
  const int64_t available = current_device().shared_bytes;
  refuse_unless(grid.blocks >= 0 && grid.blocks <= kMaxBlocks, name,
                std::to_string(grid.blocks) + " blocks: expected 0 to 2^31 - 1");
  refuse_unless(grid.threads >= 1 && grid.threads <= kMaxThreads && grid.threads % kLanes == 0, name,
                std::to_string(grid.threads) + " threads a block: expected a multiple of 32 up to 1024");
  refuse_unless(grid.shared_bytes >= 0 && grid.shared_bytes <= available, name,
                std::to_string(grid.shared_bytes) + " bytes of shared memory: the device has " + std::to_string(available));
  if (grid.blocks == 0) return;

  const std::lock_guard<std::mutex> one_at_a_time(launch_lock);
  const Settings settings = current_settings();
  Random random = random_of_next_launch(settings);
  const FaultHandlers handlers;
  const Kernel kernel{name, call, closure};
  grid_size = {unsigned(grid.blocks), 1, 1};
  block_size = {unsigned(grid.threads), 1, 1};
  shared_memory = shared.allocate(grid.shared_bytes);
  has_pairs = environment("FASTDIST_EMULATOR_PAIRS", 1) != 0;

  const auto blocks = uint32_t(grid.blocks);
  std::vector<uint32_t> order;
  if (settings.order == Order::kShuffled) order = shuffled_blocks(blocks, random);
  for (uint32_t i = 0; i < blocks; ++i) {
    shared.poison(poison_of(settings));
    const uint32_t index = settings.order == Order::kForward   ? i
                           : settings.order == Order::kReverse ? blocks - 1 - i
                                                               : order[i];
    block.run(kernel, index, grid.threads, settings, random);
  }
}

}  // namespace emulator
}  // namespace fastdist
