// What blocks and warps begin with, and in which order they take their turns.
#include "launch.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>

namespace ptx {
namespace {

Order order_of(const std::string& name) {
  return name == "reverse" ? Order::kReverse : name == "shuffled" ? Order::kShuffled : Order::kForward;
}

int target_of(const std::string& name) {
  std::string digits;
  std::copy_if(name.begin(), name.end(), std::back_inserter(digits), [](char c) { return c != '.'; });
  return digits.empty() ? 90 : std::atoi(digits.c_str());
}

// Registers of one launch: constants and addresses, the same for all blocks.
void fill_constants(const Kernel& kernel, Memory& memory, Warp& warp) {
  for (const auto& c : kernel.constants) {
    if (c.bytes == 0) warp.predicate(c.place) = uint32_t(c.bits);
    else
      for (int l = 0; l < kLanes; ++l) warp.set(c.place, int(c.bytes), l, c.bits);
  }
  for (const auto& p : kernel.pointers) {
    const uint64_t begin = p.space == Space::kParam    ? reinterpret_cast<uint64_t>(memory.parameters())
                           : p.space != Space::kShared ? 0
                           : p.behind_static           ? memory.dynamic_begin()
                                                       : memory.shared_begin();
    for (int l = 0; l < kLanes; ++l) warp.set(p.place, int(p.bytes), l, begin + uint64_t(p.value));
  }
}

void begin(Warp& warp, const Kernel& kernel, Size grid, Size block, uint32_t index, uint32_t threads) {
  const uint32_t x = index % grid.x, y = index / grid.x % grid.y, z = index / grid.x / grid.y;
  warp.alive = 0;
  warp.done = warp.at_barrier = false;
  warp.syncs = 0;
  for (int l = 0; l < kLanes; ++l) {
    const uint32_t t = uint32_t(thread_of(warp, l));
    if (t < threads) warp.alive |= 1u << l;
    // In the order of kSpecials.
    const uint32_t specials[] = {t % block.x, t / block.x % block.y, t / block.x / block.y, block.x, block.y, block.z, x, y, z,
                                 grid.x,      grid.y,                grid.z,                uint32_t(l)};
    for (const auto& special : kernel.specials) warp.at<uint32_t>(special.place)[l] = specials[special.which];
  }
  warp.groups.assign(1, Group{0, warp.alive, false});
}

}  // namespace

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int64_t environment(const char* name, int64_t otherwise) {
  const std::string value = environment(name);
  return value.empty() ? otherwise : std::strtoll(value.c_str(), nullptr, 0);
}

Settings& settings() {
  static Settings all{order_of(environment("FASTDIST_PTX_SCHEDULE")), 0, environment("FASTDIST_PTX_RACES", 1) != 0, false,
                      target_of(environment("FASTDIST_PTX_ARCH"))};
  return all;
}

void launch(Kernel& kernel, Size grid, Size block, void** arguments, uint32_t dynamic_shared) {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> hold(one_at_a_time);
  const Settings how = settings();
  const uint32_t threads = uint32_t(block.all()), warps = (threads + kLanes - 1) / kLanes;
  if (threads == 0 || threads > 1024 || grid.all() == 0)
    throw Error("kernel " + kernel.readable + ": cannot launch " + std::to_string(grid.all()) + " blocks of " +
                std::to_string(threads) + " threads");
  std::vector<Range> ranges = registered_ranges();
  for (const auto& variable : kernel.module->variables) ranges.push_back({variable->data(), variable->size(), true});
  Memory memory(kernel, dynamic_shared, arguments, threads, std::move(ranges), how.races);
  Block running{&kernel, &memory, 0, warps, how.costs};

  const uint32_t bytes = (kernel.register_bytes + 63) & ~63u;
  static std::vector<char> storage;
  storage.resize(std::max(storage.size(), size_t(bytes) * warps + 64));
  std::memset(storage.data(), 0xa5, storage.size());  // nothing is zero before it is written
  char* const registers = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(storage.data()) + 63) & ~uintptr_t(63));
  std::vector<Warp> all(warps);
  for (uint32_t w = 0; w < warps; ++w) {
    all[w].registers = registers + size_t(w) * bytes;
    all[w].block = &running;
    all[w].index = int(w);
    fill_constants(kernel, memory, all[w]);
  }

  std::mt19937 random(how.seed);
  std::vector<uint32_t> turns(grid.all());
  std::iota(turns.begin(), turns.end(), 0u);
  if (how.order == Order::kReverse) std::reverse(turns.begin(), turns.end());
  if (how.order == Order::kShuffled) std::shuffle(turns.begin(), turns.end(), random);
  ++kernel.launches;
  for (uint32_t index : turns) {
    running.index = index;
    memory.begin_block();
    for (Warp& warp : all) begin(warp, kernel, grid, block, index, threads);
    run_block(all, how.order, random);
    ++kernel.blocks;
    kernel.threads += threads;
  }
}

}  // namespace ptx
