// Switching between stacks, and the pool of stacks. On x86-64 a switch saves six registers; elsewhere (or with
// -DFASTDIST_EMULATOR_UCONTEXT) ucontext does it, with a system call each time.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if FASTDIST_EMULATOR_ASSEMBLER
// What a call may change the caller has saved: the rest is pushed here, and popped on the other stack.
asm(R"(
.text
.p2align 4
.globl fastdist_emulator_switch
.hidden fastdist_emulator_switch
.type fastdist_emulator_switch, @function
fastdist_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size fastdist_emulator_switch, .-fastdist_emulator_switch
)");
extern "C" void fastdist_emulator_switch(void** save, void* load);
#endif

namespace fastdist::emulator {
namespace {

constexpr int kStacksAtOnce = 64;
constexpr uint64_t kCanary = 0x5ca1ab1e0ddba115u;
constexpr size_t kCanaryWords = 8;

#if FASTDIST_EMULATOR_ASAN
void departing(Context* from, const Context& to) {
  // Without a place to save to, AddressSanitizer frees the fake stack: the fiber ends.
  __sanitizer_start_switch_fiber(from == nullptr ? nullptr : &from->fake_stack, to.stack.bottom, to.stack.size);
}
#else
void departing(Context*, const Context&) {}
#endif

}  // namespace

void prepare(Context& context, Stack stack, void (*entry)()) {
  context.stack = stack;
  context.fake_stack = nullptr;
#if FASTDIST_EMULATOR_ASSEMBLER
  void** top = reinterpret_cast<void**>(stack.top());
  *--top = nullptr;                              // where `entry` would return to
  *--top = reinterpret_cast<void*>(entry);       // where the switch returns to
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the saved registers
  context.stack_pointer = top;
#else
  getcontext(&context.registers);
  context.registers.uc_stack.ss_sp = stack.bottom;
  context.registers.uc_stack.ss_size = stack.size;
  context.registers.uc_link = nullptr;
  makecontext(&context.registers, entry, 0);
#endif
}

void switch_context(Context& from, Context& to) {
  departing(&from, to);
#if FASTDIST_EMULATOR_ASSEMBLER
  fastdist_emulator_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.registers, &to.registers);
#endif
#if FASTDIST_EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void leave_for(Context& to) {
  departing(nullptr, to);
#if FASTDIST_EMULATOR_ASSEMBLER
  static void* nobody;  // a local variable might lie on the fake stack, which is gone by now
  fastdist_emulator_switch(&nobody, to.stack_pointer);
#else
  setcontext(&to.registers);
#endif
  std::abort();
}

void arrived_from([[maybe_unused]] Context& from) {
#if FASTDIST_EMULATOR_ASAN
  const void* bottom;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &from.stack.size);
  from.stack.bottom = static_cast<char*>(const_cast<void*>(bottom));
#endif
}

// An odd number of pages from one stack to the next, and (take) an offset within the page: tops of stacks that lay a
// power of two apart would fight for the same few lines of the cache.
constexpr size_t kStride = StackPool::kSize + StackPool::kGuard;

void StackPool::map_more() {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* memory = mmap(nullptr, kStacksAtOnce * kStride, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mapped_.push_back(memory);
  for (int i = kStacksAtOnce; i-- > 0;) {
    char* guard = static_cast<char*>(memory) + i * kStride;
    if (mprotect(guard, kGuard, PROT_NONE) != 0) throw std::bad_alloc();
    Stack stack{guard + kGuard, kSize - size_t(i % 16) * 256};
    write_canary(stack);
    free_.push_back(stack);
  }
}

StackPool::~StackPool() {
  for (void* memory : mapped_) munmap(memory, kStacksAtOnce * kStride);
}

Stack StackPool::take() {
  if (free_.empty()) map_more();
  Stack stack = free_.back();
  free_.pop_back();
  return stack;
}

void StackPool::give_back(Stack stack) {
#if FASTDIST_EMULATOR_ASAN
  __asan_unpoison_memory_region(stack.bottom, stack.size);  // frames that were abandoned left their red zones
#endif
  free_.push_back(stack);
}

void StackPool::write_canary(const Stack& stack) {
  for (size_t word = 0; word < kCanaryWords; ++word) std::memcpy(stack.bottom + 8 * word, &kCanary, 8);
}

bool StackPool::canary_is_whole(const Stack& stack) {
  for (size_t word = 0; word < kCanaryWords; ++word)
    if (std::memcmp(stack.bottom + 8 * word, &kCanary, 8) != 0) return false;
  return true;
}

bool StackPool::is_guard_of(const Stack& stack, const void* address) {
  const char* at = static_cast<const char*>(address);
  return at >= stack.bottom - kGuard && at < stack.bottom;
}

}  // namespace fastdist::emulator
