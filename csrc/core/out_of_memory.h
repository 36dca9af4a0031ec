// Memory that could not be had. In Python it is a torch.OutOfMemoryError (fastdist/memory.py), with this text.
#pragma once

#include <cstdint>
#include <new>
#include <string>

namespace fastdist {

class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(int64_t bytes, const std::string& device)
      : text_("fastdist: out of memory: tried to allocate " + std::to_string(bytes) + " bytes on " + device) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

}  // namespace fastdist
