// Where no GPU answers but what stands in for one: the emulator (csrc/emulator) or the executor of PTX (tools/ptx), for CPU tensors.
// FASTDIST_CPU_TENSORS is then their namespace of ops.
//
// They fill the memory that kernels have yet to write with what nobody could mean, and learn which memory a call may touch.
#pragma once

#include <utility>
#include <vector>

#include "../core/arguments.h"

#if defined(FASTDIST_CPU_TENSORS)

namespace fastdist {

// Of the stand-in:
void poison(void* memory, int64_t bytes);
void register_memory(const void* memory, int64_t bytes, bool writable);
void forget_memory(const void* memory, int64_t bytes);

namespace cuda {

// The memory of one call of an op: its arguments, its results and its scratch.
class CallMemory {
 public:
  CallMemory() = default;
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;
  ~CallMemory() {
    for (const auto& [memory, bytes] : known_) forget_memory(memory, bytes);
  }

  void writes(void* memory, int64_t bytes) {
    poison(memory, bytes);
    add(memory, bytes, true);
  }
  void reads(const void* memory, int64_t count, int64_t bytes) { add(memory, count * bytes, false); }
  void reads(const Batch& batch, const Spacing& spacing) {
    int64_t voxels = 1;
    for (int64_t size : batch.shape) voxels *= size;
    reads(batch.data, batch.images * voxels, element_bytes(batch.type));
    reads(spacing.per_image, batch.images * int64_t(batch.shape.size()), sizeof(double));
  }
  void reads(const Target& target, const Spacing& spacing) {
    const int64_t planes = target.images * (target.layout == Layout::kLabels ? 1 : target.maps);
    reads(target.data, planes * target.voxels, element_bytes(target.type));
    reads(target.valid, target.images * target.voxels, 1);
    reads(spacing.per_image, target.images * int64_t(target.shape.size()), sizeof(double));
  }
  void reads(const Logits& logits, const void* maps, const Target& target) {
    const int64_t last = (logits.images - 1) * logits.image_stride + (logits.channels - 1) * logits.channel_stride +
                         (logits.voxels - 1) * logits.voxel_stride;
    const bool any = logits.images * logits.channels * logits.voxels > 0;
    reads(logits.data, any ? last + 1 : 0, element_bytes(logits.type));
    reads(maps, target.images * target.maps * target.voxels, logits.float64() ? sizeof(double) : sizeof(float));
  }

 private:
  void add(const void* memory, int64_t bytes, bool writable) {
    if (memory == nullptr || bytes <= 0) return;
    register_memory(memory, bytes, writable);
    known_.emplace_back(memory, bytes);
  }
  std::vector<std::pair<const void*, int64_t>> known_;
};

}  // namespace cuda
}  // namespace fastdist

#else

namespace fastdist::cuda {

struct CallMemory {
  template <class... Any>
  void writes(const Any&...) {}
  template <class... Any>
  void reads(const Any&...) {}
};

}  // namespace fastdist::cuda

#endif
