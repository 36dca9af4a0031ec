// Faults that the machine or a sanitizer sees: which thread of which block of which kernel it was.
#pragma once

#include <signal.h>

#include <memory>

namespace fastdist::emulator {

// While it lives, a segmentation fault of the running thread is an error of the launch, like any other; with
// AddressSanitizer the process ends, as that demands, and its report is followed by the kernel, block and thread.
class FaultHandlers {
 public:
  FaultHandlers();
  ~FaultHandlers();
  FaultHandlers(const FaultHandlers&) = delete;
  FaultHandlers& operator=(const FaultHandlers&) = delete;

 private:
  static constexpr size_t kStack = 64 << 10;

  struct sigaction previous_[2];
  stack_t previous_stack_;
  std::unique_ptr<char[]> stack_;  // a stack that overflowed is no place for a handler
};

}  // namespace fastdist::emulator
