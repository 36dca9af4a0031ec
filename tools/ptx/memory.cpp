// Addresses, races, and the handlers that load and store.
#include "memory.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>

#include "forms.h"

namespace ptx {
namespace {

std::mutex registry_lock;
std::vector<Range>& registry() {
  static std::vector<Range> ranges;
  return ranges;
}

uint32_t next_block = 0;  // of all launches; one launch runs at a time

uint64_t address_of(Warp& warp, const Instruction& i, int lane) {
  const uint64_t base = i.wide_address ? warp.at<u64>(i.operand[1])[lane] : warp.at<u32>(i.operand[1])[lane];
  return base + uint64_t(i.offset);
}

char* aligned(std::vector<char>& storage, size_t bytes, char poison) {
  storage.assign(bytes + 64, poison);
  return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(storage.data()) + 63) & ~uintptr_t(63));
}

constexpr char kPoison = char(0xa5);

}  // namespace

void register_range(const void* memory, int64_t bytes, bool writable) {
  const std::lock_guard<std::mutex> hold(registry_lock);
  registry().push_back({static_cast<const char*>(memory), uint64_t(bytes), writable});
}

void forget_range(const void* memory, int64_t bytes) {
  const std::lock_guard<std::mutex> hold(registry_lock);
  auto& ranges = registry();
  for (size_t k = ranges.size(); k-- > 0;)
    if (ranges[k].begin == memory && ranges[k].bytes == uint64_t(bytes)) {
      ranges.erase(ranges.begin() + ptrdiff_t(k));
      return;
    }
}

std::vector<Range> registered_ranges() {
  const std::lock_guard<std::mutex> hold(registry_lock);
  return registry();
}

Memory::Memory(const Kernel& kernel, uint32_t dynamic_shared, void** arguments, uint32_t threads, std::vector<Range> ranges,
               bool races)
    : kernel_(kernel), races_(races), ranges_(std::move(ranges)) {
  dynamic_begin_ = kSharedBegin + ((kernel.static_shared + 15) & ~15u);
  shared_bytes_ = dynamic_begin_ - kSharedBegin + dynamic_shared;
  shared_ = aligned(shared_storage_, shared_bytes_, kPoison);
  parameters_ = aligned(parameter_storage_, kernel.parameter_bytes, kPoison);
  for (size_t k = 0; k < kernel.parameters.size(); ++k)
    std::memcpy(parameters_ + kernel.parameters[k].offset, arguments[k], kernel.parameters[k].bytes);
  local_.assign(size_t(kernel.local_bytes) * threads, kPoison);
  global_shadows_.resize(ranges_.size());
  shared_shift_ = kernel.small_stores ? 0 : 2;
  if (races) shared_shadow_.resize((shared_bytes_ >> shared_shift_) + 4);
  first_block_ = block_ = ++next_block;
}

void Memory::begin_block() {
  block_ = next_block++;
  epoch_ = 0;
  std::memset(shared_, kPoison, shared_bytes_);
}

char* Memory::resolve(Warp& warp, const Instruction& i, int lane) {
  const uint64_t address = address_of(warp, i, lane);
  const uint32_t bytes = i.data.size();
  if (address & (bytes - 1))
    fault(warp, i, lane, "a misaligned address, of " + std::to_string(bytes) + " bytes at " + std::to_string(address & 15));
  switch (i.space) {
    case Space::kShared: {
      const uint64_t place = address - kSharedBegin;
      if (place >= shared_bytes_ || place + bytes > shared_bytes_)
        fault(warp, i, lane,
              "shared memory out of bounds: byte " + std::to_string(int64_t(place)) + " of " + std::to_string(shared_bytes_));
      if (races_)
        for (uint64_t word = place >> shared_shift_; word << shared_shift_ < place + bytes; ++word)
          watch(warp, i, lane, shared_shadow_[word], "shared byte ", word << shared_shift_);
      return shared_ + place;
    }
    case Space::kLocal: {
      if (address + bytes > kernel_.local_bytes) fault(warp, i, lane, "local memory out of bounds");
      return local_.data() + size_t(thread_of(warp, lane)) * kernel_.local_bytes + address;
    }
    case Space::kParam:
    case Space::kGeneric: {
      const uint64_t place = address - reinterpret_cast<uint64_t>(parameters_);
      if (place < kernel_.parameter_bytes && place + bytes <= kernel_.parameter_bytes) {
        if (i.writes) fault(warp, i, lane, "a parameter is written");
        return parameters_ + place;
      }
      if (i.space == Space::kParam) fault(warp, i, lane, "a parameter out of bounds: byte " + std::to_string(int64_t(place)));
      return global(warp, i, lane, address);
    }
    default: return global(warp, i, lane, address);
  }
}

char* Memory::global(Warp& warp, const Instruction& i, int lane, uint64_t address) {
  const uint32_t bytes = i.data.size();
  const auto holds = [&](const Range& range) {
    const uint64_t place = address - reinterpret_cast<uint64_t>(range.begin);
    return place < range.bytes && place + bytes <= range.bytes && (range.writable || !i.writes);
  };
  if (last_ >= ranges_.size() || !holds(ranges_[last_])) {
    const auto found = std::find_if(ranges_.begin(), ranges_.end(), holds);
    if (found == ranges_.end()) {
      int64_t nearest = INT64_MAX;
      for (const Range& range : ranges_) {
        const int64_t behind = int64_t(address) - int64_t(reinterpret_cast<uint64_t>(range.begin) + range.bytes);
        const int64_t before = int64_t(address) - int64_t(reinterpret_cast<uint64_t>(range.begin));
        for (int64_t distance : {behind, before})
          if (std::abs(distance) < std::abs(nearest)) nearest = distance;
      }
      fault(warp, i, lane, "global memory out of bounds: " + std::to_string(bytes) + " bytes, " + std::to_string(nearest) +
                               " from the next end of " + (i.writes ? "memory that may be written" : "the call's memory"));
    }
    last_ = size_t(found - ranges_.begin());
  }
  const Range& range = ranges_[last_];
  const uint64_t place = address - reinterpret_cast<uint64_t>(range.begin);
  if (races_ && range.writable && i.data.bytes >= 4) {
    auto& shadows = global_shadows_[last_];
    if (shadows.empty()) shadows.resize(range.bytes / 4 + 1);
    for (uint64_t word = place >> 2; word << 2 < place + bytes; ++word)
      watch(warp, i, lane, shadows[word], "global byte ", word << 2);
  }
  return const_cast<char*>(range.begin) + place;
}

// Whether what was done before is ordered before what this lane does now.
bool Memory::ordered(const Access& before, const Warp& warp, int lane) const {
  if (before.block < first_block_) return true;  // nobody, or an earlier launch
  if (before.several_blocks || before.block != block_) return false;
  if (before.epoch != epoch_) return true;
  if (before.several_warps || before.warp != warp.index) return false;
  return before.syncs != warp.syncs || before.lanes == 1u << lane;
}

void Memory::watch(Warp& warp, const Instruction& i, int lane, Shadow& shadow, const char* space, uint64_t place) {
  const bool in_shared = space[0] == 's';
  const auto fresh = [&](const Access& access) { return access.block < (in_shared ? block_ : first_block_); };
  const auto complain = [&](const Access& other, const char* did) {
    const std::string who = other.several_warps || other.several_blocks || std::popcount(other.lanes) != 1
                                ? "other threads have "
                                : "thread " + std::to_string(other.warp * kLanes + std::countr_zero(other.lanes)) +
                                      (other.block == block_ ? "" : " of another block") + " has ";
    fault(warp, i, lane, (i.writes ? "a race: writes " : "a race: reads ") + (space + std::to_string(place)) + ", which " + who + did +
                             " with no barrier between");
  };
  Access& write = shadow.write;
  Access& read = shadow.read;
  if (!(i.atomic && write.atomic) && !fresh(write) && !ordered(write, warp, lane)) complain(write, "written");
  // What a thread has written plainly stays so, though it goes on with atomics.
  const bool plain = !fresh(write) && write.block == block_ && write.epoch == epoch_ && !write.atomic;
  const Access mine{block_, epoch_, warp.syncs, 1u << lane, int16_t(warp.index), i.atomic && !plain, false, false};
  if (i.writes) {
    if (!fresh(read) && !ordered(read, warp, lane)) complain(read, "read");
    const bool among_atomics = i.atomic && write.atomic && !fresh(write) && write.epoch == epoch_ && write.block == block_;
    const bool several_warps = among_atomics && (write.several_warps || write.warp != warp.index);
    const uint32_t lanes = among_atomics ? write.lanes | 1u << lane : 1u << lane;
    write = mine;
    write.lanes = lanes;
    write.several_warps = several_warps;
    return;
  }
  if (fresh(read)) {
    read = mine;
  } else if (read.block != block_) {
    read = mine;
    read.several_blocks = true;
  } else if (read.epoch != epoch_) {
    const bool several = read.several_blocks;
    read = mine;
    read.several_blocks = several;
  } else if (read.warp != warp.index) {
    read.several_warps = true;
  } else if (read.syncs != warp.syncs) {
    read.syncs = warp.syncs;
    read.lanes = 1u << lane;
  } else {
    read.lanes |= 1u << lane;
  }
}

void Memory::count(Warp& warp, const Instruction& i, uint32_t lanes, Count* count) const {
  const uint32_t bytes = i.data.size();
  if (i.space == Space::kShared) {
    // Banks of 4 bytes; accesses of 8 and 16 bytes go by halves and quarters of a warp. A bank serves one word a wave.
    const int together = bytes >= 16 ? 8 : bytes >= 8 ? 16 : 32;
    for (int first = 0; first < kLanes; first += together) {
      uint32_t words[128], n = 0, load[32] = {}, most = 0;
      for (int l = first; l < first + together; ++l) {
        if (!(lanes >> l & 1)) continue;
        const uint32_t address = uint32_t(address_of(warp, i, l));
        for (uint32_t at = address >> 2; at << 2 < address + bytes; ++at) {
          if (std::find(words, words + n, at) != words + n) continue;
          words[n++] = at;
          most = std::max(most, ++load[at & 31]);
        }
      }
      count->waves += most;
    }
    return;
  }
  if (i.space != Space::kGlobal && i.space != Space::kGeneric) return;
  uint64_t sectors[2 * kLanes];
  uint32_t n = 0;
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    const uint64_t address = address_of(warp, i, l);
    if (i.space == Space::kGeneric && address - reinterpret_cast<uint64_t>(parameters_) < kernel_.parameter_bytes) return;
    for (uint64_t at = address >> 5; at <= (address + bytes - 1) >> 5; ++at)
      if (std::find(sectors, sectors + n, at) == sectors + n) sectors[n++] = at;
  }
  (i.writes ? count->sectors_written : count->sectors_read) += n;
}

// ---- Handlers --------------------------------------------------------------------------------------------------------

namespace {

template <class T>
void load(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    T values[4];
    std::memcpy(values, warp.block->memory->resolve(warp, i, l), i.data.size());
    for (int k = 0; k < i.data.count; ++k) {
      if (i.data.width[k] == sizeof(T)) warp.at<T>(i.data.element[k])[l] = values[k];
      else warp.set(i.data.element[k], i.data.width[k], l, u64(s64(values[k])));  // extended by its sign or by zeros
    }
  }
}

template <class T>
void store(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    T values[4];
    for (int k = 0; k < i.data.count; ++k) values[k] = T(warp.get(i.data.element[k], i.data.width[k], l));
    std::memcpy(warp.block->memory->resolve(warp, i, l), values, i.data.size());
  }
}

template <class T, class Function>
void atomic(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    char* memory = warp.block->memory->resolve(warp, i, l);
    T old;
    std::memcpy(&old, memory, sizeof(T));
    const T now = Function{}(old, warp.at<T>(i.operand[2])[l]);
    std::memcpy(memory, &now, sizeof(T));
    if (i.operand[0] != kNone) warp.at<T>(i.operand[0])[l] = old;
  }
}
template <class T, class Function>
Handler atomically(Function) {
  return atomic<T, Function>;
}

}  // namespace

Handler load_handler(int bytes, bool is_signed) {
  switch (bytes) {
    case 1: return is_signed ? load<s8> : load<u8>;
    case 2: return is_signed ? load<s16> : load<u16>;
    case 4: return is_signed ? load<s32> : load<u32>;
    default: return is_signed ? load<s64> : load<u64>;
  }
}

Handler store_handler(int bytes) { return bytes == 1 ? store<u8> : bytes == 2 ? store<u16> : bytes == 4 ? store<u32> : store<u64>; }

Handler atomic_handler(const std::string& operation, const std::string& type) {
  static const std::unordered_map<std::string, Handler> known{
      {"max.s32", atomically<s32>([](s32 a, s32 b) { return a > b ? a : b; })},
      {"max.u32", atomically<u32>([](u32 a, u32 b) { return a > b ? a : b; })},
      {"max.u64", atomically<u64>([](u64 a, u64 b) { return a > b ? a : b; })},
      {"or.b32", atomically<u32>([](u32 a, u32 b) { return a | b; })},
      {"and.b32", atomically<u32>([](u32 a, u32 b) { return a & b; })},
      {"add.u32", atomically<u32>([](u32 a, u32 b) { return a + b; })},
      {"add.s32", atomically<u32>([](u32 a, u32 b) { return a + b; })},
      {"exch.b32", atomically<u32>([](u32, u32 b) { return b; })},
  };
  const auto found = known.find(operation + "." + type);
  return found == known.end() ? nullptr : found->second;
}

}  // namespace ptx
