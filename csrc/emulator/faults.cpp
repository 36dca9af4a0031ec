// Signal handlers, and the sanitizers' callbacks.
#include "faults.h"

#include <dlfcn.h>
#include <pthread.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>

#include "block.h"

namespace fastdist::emulator {

#if FASTDIST_EMULATOR_ASAN

namespace {

void name_the_thread() {
  const std::string where = block.where();
  if (!where.empty()) std::fprintf(stderr, "emulator: that was %s\n", where.c_str());
  std::fflush(stderr);
}

bool ask_the_sanitizers() {
  __sanitizer_set_death_callback(&name_the_thread);
  // UBSan's runtime has a callback of its own, of the same name.
  if (void* ubsan = dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD); ubsan != nullptr) {
    using Setter = void (*)(void (*)());
    if (void* set = dlsym(ubsan, "__sanitizer_set_death_callback")) reinterpret_cast<Setter>(set)(&name_the_thread);
  }
  return true;
}

}  // namespace

FaultHandlers::FaultHandlers() {
  [[maybe_unused]] static const bool asked = ask_the_sanitizers();
}

FaultHandlers::~FaultHandlers() = default;

#elif defined(__x86_64__) && defined(__linux__)

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS};

pthread_t launching;
const void* address;
struct sigaction previous[2];

// Where a thread that touched what it must not goes on.
void land() {
  if (StackPool::is_guard_of(*block.running_stack(), address)) fault("overran its stack");
  fault("segmentation fault at address %p", address);
}

void handle(int signal, siginfo_t* info, void* context) {
  if (block.running_stack() == nullptr || !pthread_equal(pthread_self(), launching)) {
    // Not a kernel's: whoever listened before gets it when the instruction is tried again.
    for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &previous[i], nullptr);
    if (info->si_code <= 0) raise(signal);  // sent, not caused: no instruction will repeat it
    return;
  }
  address = info->si_addr;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RIP] = greg_t(reinterpret_cast<uintptr_t>(&land));
  registers[REG_RSP] = greg_t(reinterpret_cast<uintptr_t>(block.running_stack()->top()) - 8);  // as after a call
}

}  // namespace

FaultHandlers::FaultHandlers() : stack_(std::make_unique_for_overwrite<char[]>(kStack)) {
  launching = pthread_self();
  stack_t stack{};
  stack.ss_sp = stack_.get();
  stack.ss_size = kStack;
  sigaltstack(&stack, &previous_stack_);
  struct sigaction action {};
  action.sa_sigaction = &handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < 2; ++i) {
    sigaction(kSignals[i], &action, &previous_[i]);
    previous[i] = previous_[i];
  }
}

FaultHandlers::~FaultHandlers() {
  for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &previous_[i], nullptr);
  sigaltstack(&previous_stack_, nullptr);
}

#else

FaultHandlers::FaultHandlers() = default;
FaultHandlers::~FaultHandlers() = default;

#endif

}  // namespace fastdist::emulator
