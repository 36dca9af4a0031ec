// The ops on a GPU; with FASTDIST_CPU_TENSORS for CPU tensors, on what stands in for one (stand_in.h), under a namespace of its own.
#include "../op_bodies.h"

#if defined(FASTDIST_CPU_TENSORS)
#define FASTDIST_OPS_NAMESPACE FASTDIST_CPU_TENSORS
#define FASTDIST_OPS_KEY CPU
#else
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#define FASTDIST_OPS_NAMESPACE fastdist
#define FASTDIST_OPS_KEY CUDA
// Lives in libtorch_cuda: absent, and null, under a torch for the CPU alone.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);
#endif

#include "stand_in.h"
#include "transform.h"
#include "weighted_sums.h"

namespace fastdist::cuda {
namespace {

// One call of an op: the device and the stream that it runs on, and the memory it needs for as long as it is being launched.
// Torch hands freed memory out again in the stream's order only.
class Gpu {
 public:
  explicit Gpu(const Tensor& on)
      : like_(on)
#if !defined(FASTDIST_CPU_TENSORS)
        , guard_(on.get_device())
#endif
  {
    context_.allocate = [this](int64_t bytes) { return allocate(bytes); };
#if !defined(FASTDIST_CPU_TENSORS)
    use_device(on.get_device());
    void* stream = nullptr;
    if (!&aoti_torch_get_current_cuda_stream) throw std::runtime_error("fastdist: this torch was built without CUDA");
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(on.get_device(), &stream));
    context_.stream = static_cast<cudaStream_t>(stream);
#endif
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  Tensor empty(const std::vector<int64_t>& sizes, ScalarType type) const {
    try {
      Tensor made = fastdist::empty(sizes, type, like_);
      mark_written(made);
      return made;
    } catch (const OutOfMemory&) {
#if !defined(FASTDIST_CPU_TENSORS)
      check_device();  // torch does not tell what the reason was
#endif
      throw;
    }
  }

  void mark_written(Tensor& out) const {
    memory_.writes(out.mutable_data_ptr(), out.numel() * int64_t(out.element_size()));
  }

  void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element type, void* distances, void* indices,
           bool wide) const {
    memory_.reads(mask, spacing);
    cuda::edt(mask, spacing, options, type, distances, indices, wide, context_);
  }
  void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element type, void* distances) const {
    memory_.reads(labels, spacing);
    cuda::edt_labels(labels, spacing, options, type, distances, context_);
  }
  void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, const char*, bool float64,
                   void* maps) const {
    memory_.reads(target, spacing);
    cuda::signed_maps(target, spacing, options, float64, maps, context_);
  }
  void weighted_sums(const Logits& logits, const void* maps, const Target& target, const Spacing& spacing, void* sums,
                     int64_t* counts, void* perfect) const {
    memory_.reads(target, spacing);
    memory_.reads(logits, maps, target);
    void* scratch = context_.allocate(weighted_sums_scratch(logits, target));
    cuda::weighted_sums(logits, maps, target, sums, counts, perfect, spacing.per_image, int(spacing.shared.size()), scratch,
                        context_.stream);
  }
  void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                              void* gradient) const {
    memory_.reads(grad_sums, target.images * target.maps, logits.float64() ? sizeof(double) : sizeof(float));
    memory_.reads(target, Spacing{});
    memory_.reads(logits, maps, target);
    cuda::weighted_sums_backward(grad_sums, logits, maps, target, gradient, nullptr, 0, context_.stream);
  }

 private:
  void* allocate(int64_t bytes) {
    scratch_.push_back(empty({bytes}, ScalarType::Byte));
    return scratch_.back().mutable_data_ptr();
  }

  Tensor like_;
#if !defined(FASTDIST_CPU_TENSORS)
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  mutable CallMemory memory_;
  Context context_;
  std::vector<Tensor> scratch_;
};

}  // namespace
}  // namespace fastdist::cuda

STABLE_TORCH_LIBRARY_IMPL(FASTDIST_OPS_NAMESPACE, FASTDIST_OPS_KEY, m) { FASTDIST_REGISTER_OPS(m, fastdist::cuda::Gpu); }
