// Runs a block: turns, barriers, warp collectives, and what is wrong when nobody can go on.
#include "block.h"

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>

#include "collective.h"
#include "shared.h"

namespace fastdist::emulator {

Block block;
uint3 thread_index, block_index;
dim3 block_size, grid_size;
char* shared_memory;
bool has_pairs = true;

namespace {

const char* name_of(Barrier kind) {
  constexpr const char* kNames[] = {"__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count"};
  return kNames[int(kind)];
}

const char* file_of(const Site& site) {
  const char* slash = std::strrchr(site.file_name(), '/');
  return slash == nullptr ? site.file_name() : slash + 1;
}

// "columns.cuh:120". Not for what runs on a fiber: its strings would not be freed after a fault.
std::string text_of(const Site& site) { return std::string(file_of(site)) + ":" + std::to_string(site.line()); }

std::string hex(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

}  // namespace

// --- Turns. -----------------------------------------------------------------------------------------------------------

void Block::run(const Kernel& kernel, int64_t index, int threads, const Settings& settings, Random& random) {
  kernel_ = kernel;
  index_ = index;
  size_ = threads;
  settings_ = settings;
  random_ = &random;
  done_ = at_barrier_ = votes_ = 0;
  fault_[0] = '\0';
  block_index = {unsigned(index), 0, 0};
  for (int i = 0; i < threads; ++i) threads_[i].started = false;
  for (int w = 0; w < threads / kLanes; ++w) warps_[w] = {~0u, 0, 0, 0};
  do {
    run_until_all_wait();
  } while (open_barrier());
  if (done_ != size_) report_deadlock();
  if (!shared.canaries_are_whole())
    throw std::runtime_error("emulator: kernel " + std::string(kernel.name) + ", block " + std::to_string(index) +
                             ": wrote outside of the block's shared memory, " + shared.damage() + " (" +
                             text_of(settings) + "; FASTDIST_EMULATOR_CHECK=1 tells which thread)");
}

void Block::run_until_all_wait() {
  const int warps = size_ / kLanes;
  if (settings_.order == Order::kForward) {
    for (int w = 0; w < warps; ++w)
      while (warps_[w].ready != 0) turns_of(w, warps_[w].ready);
  } else if (settings_.order == Order::kReverse) {
    for (int w = warps; w-- > 0;)
      while (warps_[w].ready != 0) turns_of(w, warps_[w].ready);
  } else {
    while (true) {
      int able[kMaxWarps], count = 0;
      for (int w = 0; w < warps; ++w)
        if (warps_[w].ready != 0) able[count++] = w;
      if (count == 0) return;
      const int w = able[random_->below(uint32_t(count))];
      const uint32_t some = warps_[w].ready & uint32_t(random_->next());
      turns_of(w, some != 0 ? some : warps_[w].ready);
    }
  }
}

void Block::turns_of(int warp, uint32_t lanes) {
  const int first = warp * kLanes;
  if (settings_.order == Order::kForward) {
    for (; lanes != 0; lanes &= lanes - 1) turn(first + std::countr_zero(lanes));
  } else if (settings_.order == Order::kReverse) {
    for (; lanes != 0; lanes &= ~(1u << (31 - std::countl_zero(lanes)))) turn(first + 31 - std::countl_zero(lanes));
  } else {
    const uint32_t factor = random_->below(16) * 2 + 1, offset = random_->below(32);  // odd: i -> lane is one to one
    for (uint32_t i = 0; i < kLanes; ++i) {
      const uint32_t lane = (i * factor + offset) % kLanes;
      if (lanes >> lane & 1) turn(first + int(lane));
    }
  }
}

void Block::turn(int thread) {
  Thread& it = threads_[thread];
  warps_[thread / kLanes].ready &= ~(1u << thread % kLanes);
  running_ = thread;
  thread_index = {unsigned(thread), 0, 0};
  if (!it.started) {
    it.started = true;
    prepare(it.context, stacks_.take(), &Block::enter);
  }
  switch_context(scheduler_, it.context);
  running_ = -1;
  if (fault_[0] != '\0') fail(thread, fault_);
  if (settings_.check) check_canaries(thread);
  if (is_done(thread)) stacks_.give_back(it.context.stack);
}

void Block::check_canaries(int thread) {
  const Stack& stack = threads_[thread].context.stack;
  const bool overran = !StackPool::canary_is_whole(stack), damaged = !shared.canaries_are_whole();
  if (!overran && !damaged) return;
  StackPool::write_canary(stack);
  if (is_done(thread)) stacks_.give_back(stack);
  fail(thread, overran ? "overran its stack" : "wrote outside of the block's shared memory, " + shared.damage());
}

void Block::enter() { block.run_thread(); }

void Block::run_thread() {
  arrived_from(scheduler_);
  try {
    kernel_.call(kernel_.closure);
  } catch (const std::exception& error) {
    std::snprintf(fault_, sizeof fault_, "threw: %s", error.what());
  } catch (...) {
    std::snprintf(fault_, sizeof fault_, "threw something");
  }
  if (fault_[0] != '\0') leave_for(scheduler_);
  refuse_if_awaited("has returned");
  warps_[running_ / kLanes].done |= 1u << running_ % kLanes;
  ++done_;
  leave_for(scheduler_);
}

void Block::yield() { switch_context(threads_[running_].context, scheduler_); }

// --- Barriers. --------------------------------------------------------------------------------------------------------

int Block::wait_at_barrier(Barrier kind, int predicate, const Site& site) {
  if (at_barrier_ == 0) {
    barrier_ = kind;
    barrier_site_ = &site;
    barrier_first_ = running_;
    votes_ = 0;
  } else if (kind != barrier_ || site.line() != barrier_site_->line() ||
             std::strcmp(site.file_name(), barrier_site_->file_name()) != 0) {
    fault("divergent barrier: waits at %s (%s:%u), but thread %d waits at %s (%s:%u)", name_of(kind), file_of(site),
          site.line(), barrier_first_, name_of(barrier_), file_of(*barrier_site_), barrier_site_->line());
  }
  refuse_if_awaited("waits at a barrier of the block");
  ++at_barrier_;
  votes_ += predicate != 0;
  threads_[running_].site = &site;
  warps_[running_ / kLanes].waiting |= 1u << running_ % kLanes;
  yield();
  return barrier_result_;
}

// True where all threads had come: then all can go on.
bool Block::open_barrier() {
  if (at_barrier_ != size_) return false;
  barrier_result_ = barrier_ == Barrier::kOr    ? votes_ != 0
                    : barrier_ == Barrier::kAnd ? votes_ == size_
                                                : votes_;
  at_barrier_ = 0;
  for (int w = 0; w < size_ / kLanes; ++w) {
    warps_[w].ready = ~0u;
    warps_[w].waiting = 0;
  }
  return true;
}

// --- Warp collectives. ------------------------------------------------------------------------------------------------

uint64_t Block::exchange(const Offer& offer, const Site& site) {
  const int w = running_ / kLanes, lane = running_ % kLanes;
  Warp& warp = warps_[w];
  if (!(offer.mask >> lane & 1))
    fault("lane %d calls %s (%s:%u) with mask 0x%08x, which leaves it out", lane, emulator::name_of(offer.kind),
          file_of(site), site.line(), offer.mask);
  if (is_shuffle(offer.kind) && (offer.width < 1 || offer.width > kLanes || !std::has_single_bit(unsigned(offer.width))))
    fault("%s (%s:%u) with width %d: expected a power of two up to 32", emulator::name_of(offer.kind), file_of(site),
          site.line(), offer.width);
  if (const uint32_t lost = offer.mask & (warp.done | warp.waiting); lost != 0) {
    const int other = std::countr_zero(lost);
    fault("%s (%s:%u) with mask 0x%08x waits for lane %d, which %s", emulator::name_of(offer.kind), file_of(site),
          site.line(), offer.mask, other, warp.done >> other & 1 ? "has returned" : "waits at a barrier of the block");
  }
  Thread& it = threads_[running_];
  it.offer = offer;
  it.site = &site;
  warp.exchanging |= 1u << lane;
  if ((warp.exchanging & offer.mask) == offer.mask) complete(w, offer.mask);
  yield();
  return it.result;
}

// All lanes of the mask wait in some collective; if it is the same one, they can go on.
void Block::complete(int w, uint32_t mask) {
  const Thread* threads = threads_ + w * kLanes;
  const Offer* offers[kLanes] = {};
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    // With another mask it may be busy with fewer lanes first, and join this one later.
    if (threads[lane].offer.mask != mask) return;
    offers[lane] = &threads[lane].offer;
  }
  const Thread& mine = threads_[running_];
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    if (offers[lane]->kind != mine.offer.kind || offers[lane]->bytes != mine.offer.bytes)
      fault("%s of %d bytes (%s:%u) with mask 0x%08x meets %s of %d bytes (%s:%u) of lane %d",
            emulator::name_of(mine.offer.kind), mine.offer.bytes, file_of(*mine.site), mine.site->line(), mask,
            emulator::name_of(offers[lane]->kind), offers[lane]->bytes, file_of(*threads[lane].site),
            threads[lane].site->line(), lane);
  }
  uint64_t results[kLanes];
  compute(offers, mask, poison_of(settings_), results);
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    threads_[w * kLanes + lane].result = results[lane];
  }
  warps_[w].exchanging &= ~mask;
  warps_[w].ready |= mask;
}

// The running thread is about to return, or to wait for the block: nobody may wait for it in a collective.
void Block::refuse_if_awaited(const char* but) {
  const int first = running_ / kLanes * kLanes, lane = running_ % kLanes;
  for (uint32_t left = warps_[running_ / kLanes].exchanging; left != 0; left &= left - 1) {
    const Thread& other = threads_[first + std::countr_zero(left)];
    if (other.offer.mask >> lane & 1)
      fault("lane %d %s, but lane %d waits for it in %s (%s:%u) with mask 0x%08x", lane, but, std::countr_zero(left),
            emulator::name_of(other.offer.kind), file_of(*other.site), other.site->line(), other.offer.mask);
  }
}

// --- Faults. ----------------------------------------------------------------------------------------------------------

void Block::report_deadlock() {
  // A collective that cannot complete: two of its lanes were given different masks.
  for (int thread = 0; thread < size_; ++thread) {
    const Warp& warp = warps_[thread / kLanes];
    const Thread& it = threads_[thread];
    if (!(warp.exchanging >> thread % kLanes & 1)) continue;
    for (uint32_t left = it.offer.mask; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      const Thread& other = threads_[thread / kLanes * kLanes + lane];
      if (other.offer.mask == it.offer.mask) continue;
      fail(thread, std::string(emulator::name_of(it.offer.kind)) + " (" + text_of(*it.site) + ") with mask " +
                       hex(it.offer.mask) + " waits for lane " + std::to_string(lane) + ", which waits in " +
                       emulator::name_of(other.offer.kind) + " (" + text_of(*other.site) + ") with another mask, " +
                       hex(other.offer.mask));
    }
  }
  int waits = -1, returned = -1;
  for (int thread = 0; thread < size_; ++thread) {
    const Warp& warp = warps_[thread / kLanes];
    if (waits < 0 && (warp.waiting >> thread % kLanes & 1)) waits = thread;
    if (returned < 0 && (warp.done >> thread % kLanes & 1)) returned = thread;
  }
  fail(waits, "divergent barrier: waits with " + std::to_string(at_barrier_) + " of " + std::to_string(size_) +
                  " threads at " + name_of(barrier_) + " (" + text_of(*barrier_site_) + "), but thread " +
                  std::to_string(returned) + " has returned");
}

std::string Block::prefix(int thread) const {
  return std::string("kernel ") + kernel_.name + ", block " + std::to_string(index_) + ", thread " + std::to_string(thread);
}

std::string Block::where() const { return running_ < 0 ? "" : prefix(running_); }

void Block::fault_of_running_thread(const char* text) {
  std::snprintf(fault_, sizeof fault_, "%s", text);
  leave_for(scheduler_);
}

void Block::fail(int thread, const std::string& text) {
  const std::string message = "emulator: " + prefix(thread) + ": " + text + " (" + text_of(settings_) + ")";
  abandon();
  throw std::runtime_error(message);
}

// Takes the stacks of threads that will not go on; nothing on them has a destructor that matters.
void Block::abandon() {
  for (int thread = 0; thread < size_; ++thread) {
    Thread& it = threads_[thread];
    if (!it.started || (warps_[thread / kLanes].done >> thread % kLanes & 1)) continue;
    StackPool::write_canary(it.context.stack);
    stacks_.give_back(it.context.stack);
  }
}

// --- What kernels call (engine.h). ------------------------------------------------------------------------------------

int wait_at_barrier(Barrier kind, int predicate, const Site& site) { return block.wait_at_barrier(kind, predicate, site); }

uint64_t exchange(const Offer& offer, const Site& site) { return block.exchange(offer, site); }

void fault(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  block.fault_of_running_thread(text);
}

}  // namespace fastdist::emulator
