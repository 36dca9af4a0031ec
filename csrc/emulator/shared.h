// A block's shared memory: on the heap, between red zones, filled with poison when the block begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace fastdist::emulator {

class SharedMemory {
 public:
  ~SharedMemory() { release(); }
  // For the blocks of one launch; the address is a multiple of 16, not of 32.
  char* allocate(int64_t bytes);
  void poison(uint8_t value);
  // AddressSanitizer sees by itself who touches the red zones; else writing there breaks the pattern that fills them.
  bool canaries_are_whole() const;
  std::string damage() const;

 private:
  static constexpr size_t kRedZone = 4096;  // bytes, on either side

  void release();

  std::unique_ptr<char[]> memory_;
  char* begin_ = nullptr;
  size_t bytes_ = 0;
};

extern SharedMemory shared;

}  // namespace fastdist::emulator
