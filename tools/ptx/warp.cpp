// Warps: groups of lanes, the one that is furthest behind first; collectives; barriers of a block.
#include "warp.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "forms.h"
#include "module.h"

namespace ptx {

uint64_t Warp::get(uint32_t place, int bytes, int lane) {
  switch (bytes) {
    case 1: return at<u8>(place)[lane];
    case 2: return at<u16>(place)[lane];
    case 4: return at<u32>(place)[lane];
    default: return at<u64>(place)[lane];
  }
}

void Warp::set(uint32_t place, int bytes, int lane, uint64_t value) {
  if (place == kNone) return;
  switch (bytes) {
    case 1: at<u8>(place)[lane] = u8(value); break;
    case 2: at<u16>(place)[lane] = u16(value); break;
    case 4: at<u32>(place)[lane] = u32(value); break;
    default: at<u64>(place)[lane] = value;
  }
}

void fault(const Warp& warp, const Instruction& i, int lane, const std::string& what) {
  const Kernel& kernel = *warp.block->kernel;
  const std::string who = lane < 0 ? "warp " + std::to_string(warp.index) : "thread " + std::to_string(thread_of(warp, lane));
  throw Fault("kernel " + kernel.readable + ", block " + std::to_string(warp.block->index) + ", " + who + ", PTX line " +
              std::to_string(i.line) + " (" + i.opcode + "), " + describe(*kernel.module, i) + ": " + what);
}

void shuffle(Warp& warp, const Instruction& i, uint32_t lanes) {
  const u32 *value = warp.at<u32>(i.operand[1]), *distance = warp.at<u32>(i.operand[2]), *shape = warp.at<u32>(i.operand[3]);
  u32 results[kLanes], inside = 0;
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    const int segment = shape[l] >> 8 & 31, clamp = shape[l] & 31, n = distance[l] & 31;
    const int low = l & segment, high = low | (clamp & ~segment);
    const int wanted = i.mode == Mode::kUp          ? l - n
                       : i.mode == Mode::kDown      ? l + n
                       : i.mode == Mode::kButterfly ? l ^ n
                                                    : low | (n & ~segment);
    const bool valid = i.mode == Mode::kUp ? wanted >= high : wanted <= high;
    const int from = valid ? wanted : l;
    if (!(lanes >> from & 1)) fault(warp, i, l, "a shuffle reads lane " + std::to_string(from) + ", which takes no part");
    results[l] = value[from];
    inside |= u32(valid) << l;
  }
  for (int l = 0; l < kLanes; ++l)
    if (lanes >> l & 1) warp.at<u32>(i.operand[0])[l] = results[l];
  if (i.second == kNone) return;
  u32& to = warp.predicate(i.second);
  to = (to & ~lanes) | inside;
}

void vote(Warp& warp, const Instruction& i, uint32_t lanes) {
  const u32 word = warp.predicate(i.operand[1]);
  const u32 ayes = (i.negated_source ? ~word : word) & lanes;
  if (i.mode == Mode::kBallot) {
    for (int l = 0; l < kLanes; ++l)
      if (lanes >> l & 1) warp.at<u32>(i.operand[0])[l] = ayes;
    return;
  }
  const bool result = i.mode == Mode::kAny ? ayes != 0 : i.mode == Mode::kAllOf ? ayes == lanes : ayes == 0 || ayes == lanes;
  u32& to = warp.predicate(i.operand[0]);
  to = (to & ~lanes) | (result ? lanes : 0);
}

namespace {

// The lanes that a collective names; all that call must name the same, and themselves among them.
uint32_t members_of(Warp& warp, const Instruction& i, uint32_t lanes) {
  const u32* named = warp.at<u32>(i.operand[4]);
  const u32 members = named[std::countr_zero(lanes)] & ~i.left_out;
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    if ((named[l] & ~i.left_out) != members) fault(warp, i, l, "lanes of one collective name different members");
    if (!(members >> l & 1)) fault(warp, i, l, "a lane that is not among the members takes part");
  }
  return members;
}

[[noreturn]] void stuck(const Warp& warp) {
  const auto& code = warp.block->kernel->code;
  std::string text = "lanes wait for one another:";
  for (const Group& group : warp.groups) {
    char lanes[16];
    std::snprintf(lanes, sizeof lanes, " %08x", group.lanes);
    text += std::string(lanes) + " at PTX line " + std::to_string(code[group.pc].line) + " (" + code[group.pc].opcode + ")";
  }
  fault(warp, code[warp.groups[0].pc], -1, text);
}

void merge(std::vector<Group>& groups) {
  for (size_t x = 0; x < groups.size(); ++x)
    for (size_t y = x + 1; y < groups.size();) {
      if (groups[x].pc != groups[y].pc) {
        ++y;
        continue;
      }
      groups[x].lanes |= groups[y].lanes;
      groups[x].waits = false;
      groups.erase(groups.begin() + ptrdiff_t(y));
    }
}

// Runs one group until it meets another, splits, waits, ends, or the budget is spent. Whether the warp goes on.
bool run_group(Warp& warp, size_t index, uint64_t& budget) {
  auto& groups = warp.groups;
  Kernel& kernel = *warp.block->kernel;
  uint32_t pc = groups[index].pc, limit = kNone;
  const uint32_t lanes = groups[index].lanes;
  std::vector<uint32_t> waiting;
  for (size_t k = 0; k < groups.size(); ++k) {
    if (k == index) continue;
    if (groups[k].pc > pc) limit = std::min(limit, groups[k].pc);
    if (groups[k].waits) waiting.push_back(groups[k].pc);
  }
  const auto leave_at = [&](uint32_t place) { groups[index].pc = place; };
  for (;;) {
    const Instruction& i = kernel.code[pc];
    uint32_t active = lanes;
    if (i.guard != kNone) active &= i.negated ? ~warp.predicate(i.guard) : warp.predicate(i.guard);
    Count& count = kernel.counts[pc];
    ++count.executed;
    count.lanes += std::popcount(active);
    if ((i.kind == Kind::kShuffle || i.kind == Kind::kVote || i.kind == Kind::kWarpSync || i.kind == Kind::kBarrier) && active != lanes)
      fault(warp, i, -1, "some lanes leave out what all have to do together");
    switch (i.kind) {
      case Kind::kMemory:
        if (active && warp.block->costs) warp.block->memory->count(warp, i, active, &count);
        [[fallthrough]];
      case Kind::kPlain:
        if (active) i.run(warp, i, active);
        ++pc;
        break;
      case Kind::kBranch:
        if (active == 0) {
          ++pc;
        } else if (active == lanes) {
          pc = i.target;
        } else {
          groups[index] = {pc + 1, lanes & ~active, false};
          groups.push_back({i.target, active, false});
          return true;
        }
        break;
      case Kind::kExit:
        if (active == 0) {
          ++pc;
          break;
        }
        warp.alive &= ~active;
        for (Group& group : groups) group.waits = false;  // perhaps for these lanes
        if (active == lanes) groups.erase(groups.begin() + ptrdiff_t(index));
        else groups[index] = {pc + 1, lanes & ~active, false};
        return true;
      case Kind::kShuffle:
      case Kind::kVote:
      case Kind::kWarpSync:
        if (members_of(warp, i, lanes) & ~lanes) {
          leave_at(pc);
          groups[index].waits = true;
          --count.executed;
          return true;
        }
        if (i.kind != Kind::kWarpSync) i.run(warp, i, lanes);
        else if (lanes == warp.alive) ++warp.syncs;
        ++pc;
        break;
      case Kind::kBarrier:
        leave_at(pc);
        if (lanes != warp.alive) {
          groups[index].waits = true;
          --count.executed;
          return true;
        }
        warp.barrier = pc;
        warp.at_barrier = true;
        return false;
    }
    if (pc >= limit || std::find(waiting.begin(), waiting.end(), pc) != waiting.end()) {
      leave_at(pc);
      return true;
    }
    if (--budget == 0) {
      leave_at(pc);
      return false;
    }
  }
}

// What a barrier gives to all threads of a block.
void release(std::vector<Warp>& warps) {
  Block& block = *warps[0].block;
  const Instruction* first = nullptr;
  uint32_t ayes = 0, voters = 0;
  for (Warp& warp : warps) {
    if (!warp.at_barrier) continue;
    const Instruction& i = block.kernel->code[warp.barrier];
    if (first && (first->mode != i.mode || first->at != i.at || first->inlined_at != i.inlined_at))
      fault(warp, i, -1, "another warp waits at another barrier, PTX line " + std::to_string(first->line));
    first = &i;
    voters += uint32_t(std::popcount(warp.alive));
    if (i.mode == Mode::kSync) continue;
    const u32 word = warp.predicate(i.operand[1]);
    ayes += uint32_t(std::popcount((i.negated_source ? ~word : word) & warp.alive));
  }
  for (Warp& warp : warps) {
    if (!warp.at_barrier) continue;
    const Instruction& i = block.kernel->code[warp.barrier];
    if (i.mode == Mode::kCount) {
      for (int l = 0; l < kLanes; ++l)
        if (warp.alive >> l & 1) warp.at<u32>(i.operand[0])[l] = ayes;
    } else if (i.mode != Mode::kSync) {
      u32& to = warp.predicate(i.operand[0]);
      to = (to & ~warp.alive) | ((i.mode == Mode::kAny ? ayes != 0 : ayes == voters) ? warp.alive : 0);
    }
    warp.groups[0].pc = warp.barrier + 1;
    warp.groups[0].waits = warp.at_barrier = false;
    ++warp.syncs;
  }
  block.memory->barrier();
}

}  // namespace

void run(Warp& warp, uint64_t budget) {
  for (bool goes_on = true; goes_on;) {
    auto& groups = warp.groups;
    if (groups.empty()) {
      warp.done = true;
      return;
    }
    if (groups.size() > 1) merge(groups);
    size_t chosen = groups.size();
    for (size_t k = 0; k < groups.size(); ++k)
      if (!groups[k].waits && (chosen == groups.size() || groups[k].pc < groups[chosen].pc)) chosen = k;
    if (chosen == groups.size()) stuck(warp);
    goes_on = run_group(warp, chosen, budget);
  }
}

void run_block(std::vector<Warp>& warps, Order order, std::mt19937& random) {
  for (;;) {
    if (order == Order::kShuffled) {
      std::vector<Warp*> ready;
      for (;;) {
        ready.clear();
        for (Warp& warp : warps)
          if (!warp.done && !warp.at_barrier) ready.push_back(&warp);
        if (ready.empty()) break;
        run(*ready[random() % ready.size()], 1 + random() % 300);
      }
    } else {
      for (size_t k = 0; k < warps.size(); ++k) {
        Warp& warp = warps[order == Order::kReverse ? warps.size() - 1 - k : k];
        if (!warp.done) run(warp, ~uint64_t(0));
      }
    }
    if (std::none_of(warps.begin(), warps.end(), [](const Warp& warp) { return warp.at_barrier; })) return;
    release(warps);
  }
}

}  // namespace ptx
