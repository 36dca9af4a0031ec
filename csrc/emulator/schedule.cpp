// The settings, from the environment or set, and what follows from them.
#include "schedule.h"

#include <cstdlib>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace fastdist::emulator {

std::mutex launch_lock;

namespace {

constexpr std::pair<const char*, Order> kOrders[] = {
    {"forward", Order::kForward}, {"reverse", Order::kReverse}, {"shuffled", Order::kShuffled}};

std::mutex mutex;
std::optional<std::pair<Order, uint64_t>> chosen;
uint64_t launches = 0;

Order order_of(const std::string& name, const char* from) {
  for (const auto& [known, order] : kOrders)
    if (name == known) return order;
  throw std::runtime_error(std::string(from) + ": got '" + name + "', expected 'forward', 'reverse' or 'shuffled'");
}

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

}  // namespace

Settings current_settings() {
  Settings settings;
  settings.check = environment("FASTDIST_EMULATOR_CHECK", "0") != "0";
  const std::lock_guard<std::mutex> lock(mutex);
  if (chosen) {
    settings.order = chosen->first;
    settings.seed = chosen->second;
  } else {
    constexpr const char* kVariable = "FASTDIST_EMULATOR_SCHEDULE";
    settings.order = order_of(environment(kVariable, "forward"), kVariable);
    settings.seed = std::strtoull(environment("FASTDIST_EMULATOR_SEED", "0").c_str(), nullptr, 0);
  }
  return settings;
}

void set_schedule(const std::string& name, uint64_t seed) {
  const std::lock_guard<std::mutex> lock(mutex);
  launches = 0;
  if (name.empty()) {
    chosen.reset();
  } else {
    chosen = {order_of(name, "schedule"), seed};
  }
}

Random random_of_next_launch(const Settings& settings) {
  const std::lock_guard<std::mutex> lock(mutex);
  return Random(settings.seed ^ ++launches << 32);
}

std::string text_of(const Settings& settings) {
  std::string text = std::string("schedule ") + kOrders[int(settings.order)].first;
  if (settings.order == Order::kShuffled) text += ", seed " + std::to_string(settings.seed);
  return text;
}

// As a float or a signed integer the first is below everything, the second is near 0; as unsigned integers large and small.
uint8_t poison_of(const Settings& settings) {
  if (settings.order == Order::kForward) return 0xfe;
  if (settings.order == Order::kReverse) return 0x01;
  return uint8_t(1 + Random(settings.seed).below(255));
}

std::vector<uint32_t> shuffled_blocks(uint32_t blocks, Random& random) {
  std::vector<uint32_t> order(blocks);
  for (uint32_t i = 0; i < blocks; ++i) {
    const uint32_t other = random.below(i + 1);  // Fisher-Yates, inside out
    order[i] = order[other];
    order[other] = i;
  }
  return order;
}

}  // namespace fastdist::emulator
