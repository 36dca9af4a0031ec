// Fibers: a stack each, and switching from one to another within one OS thread. One fiber runs one thread of a block.
#pragma once

#include <cstddef>
#include <vector>

#if defined(__x86_64__) && !defined(FASTDIST_EMULATOR_UCONTEXT)
#define FASTDIST_EMULATOR_ASSEMBLER 1
#else
#define FASTDIST_EMULATOR_ASSEMBLER 0
#include <ucontext.h>
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FASTDIST_EMULATOR_ASAN 1  // clang
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FASTDIST_EMULATOR_ASAN 1  // gcc
#endif

#if defined(FASTDIST_EMULATOR_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define FASTDIST_EMULATOR_ASAN 0
#endif

namespace fastdist::emulator {

struct Stack {
  char* bottom = nullptr;  // the lowest address; what lies below it cannot be accessed
  size_t size = 0;
  char* top() const { return bottom + size; }
};

// A place to come back to: the scheduler's, or a fiber's.
struct Context {
#if FASTDIST_EMULATOR_ASSEMBLER
  void* stack_pointer = nullptr;
#else
  ucontext_t registers;
#endif
  Stack stack;                 // for AddressSanitizer, which has to know where it is
  void* fake_stack = nullptr;  // AddressSanitizer's own
};

// Lets the first switch to `context` call `entry`, which must never return, on this stack.
void prepare(Context& context, Stack stack, void (*entry)());

// Goes on at `to`; returns when somebody switches to `from`.
void switch_context(Context& from, Context& to);

// Goes on at `to`, for good: nobody will come back.
[[noreturn]] void leave_for(Context& to);

// To be called first by a fiber's entry: tells AddressSanitizer, and learns from it the stack of who switched here.
void arrived_from(Context& from);

// Stacks for all threads of a block, kept for the next. The last one returned is the first to be taken: it is in the cache.
class StackPool {
 public:
  static constexpr size_t kSize = FASTDIST_EMULATOR_ASAN ? 256 << 10 : 64 << 10;
  static constexpr size_t kGuard = 4096;

  ~StackPool();
  Stack take();
  void give_back(Stack stack);
  static void write_canary(const Stack& stack);
  static bool canary_is_whole(const Stack& stack);
  static bool is_guard_of(const Stack& stack, const void* address);

 private:
  void map_more();

  std::vector<Stack> free_;
  std::vector<void*> mapped_;
};

}  // namespace fastdist::emulator
