// One block of threads, each on a fiber: who can go on, who waits for what, and whose turn is next.
#pragma once

#include <cstdint>
#include <string>

#include "engine.h"
#include "fiber.h"
#include "schedule.h"

namespace fastdist::emulator {

constexpr int kLanes = 32;
constexpr int kMaxThreads = 1024;
constexpr int kMaxWarps = kMaxThreads / kLanes;

// A kernel with its arguments: calling it runs the thread whose index is set.
struct Kernel {
  const char* name;
  void (*call)(const void* closure);
  const void* closure;
};

struct Thread {
  Context context;
  bool started;
  Offer offer;       // to the warp collective that it waits in
  const Site* site;  // of the barrier or collective that it waits at
  uint64_t result;
};

// Each lane is in exactly one of these sets.
struct Warp {
  uint32_t ready;       // to go on
  uint32_t exchanging;  // waits in a warp collective
  uint32_t waiting;     // waits at the block's barrier
  uint32_t done;        // has returned
};

class Block {
 public:
  // Runs the threads 0 .. threads-1 to their end. A fault is a std::runtime_error, and the block can be used again.
  void run(const Kernel& kernel, int64_t index, int threads, const Settings& settings, Random& random);

  // Called by the running thread.
  int wait_at_barrier(Barrier kind, int predicate, const Site& site);
  uint64_t exchange(const Offer& offer, const Site& site);
  [[noreturn]] void fault_of_running_thread(const char* text);

  // "kernel columns, block 3, thread 17", of the thread that is running; empty where none is.
  std::string where() const;
  // The stack of the thread that is running; none: nullptr.
  const Stack* running_stack() const { return running_ < 0 ? nullptr : &threads_[running_].context.stack; }

 private:
  static void enter();
  void run_thread();  // what a fiber does
  void yield();
  void turn(int thread);
  void turns_of(int warp, uint32_t lanes);
  void run_until_all_wait();
  void check_canaries(int thread);
  bool open_barrier();
  void complete(int warp, uint32_t mask);
  void refuse_if_awaited(const char* but);
  [[noreturn]] void report_deadlock();
  [[noreturn]] void fail(int thread, const std::string& text);
  void abandon();
  std::string prefix(int thread) const;
  bool is_done(int thread) const { return warps_[thread / kLanes].done >> thread % kLanes & 1; }

  Thread threads_[kMaxThreads];
  Warp warps_[kMaxWarps];
  StackPool stacks_;
  Context scheduler_;
  Kernel kernel_{};
  Settings settings_;
  Random* random_ = nullptr;
  int64_t index_ = 0;
  int size_ = 0;
  int running_ = -1;        // the thread whose turn it is
  int done_ = 0;
  int at_barrier_ = 0;
  Barrier barrier_{};       // what the first to arrive calls
  const Site* barrier_site_ = nullptr;
  int barrier_first_ = 0;
  int votes_ = 0;
  int barrier_result_ = 0;
  char fault_[1024] = "";   // text of a fault of the running thread, or empty
};

extern Block block;  // the one that runs; launch.cpp admits one launch at a time

}  // namespace fastdist::emulator
