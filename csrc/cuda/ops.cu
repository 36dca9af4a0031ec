// The ops on a GPU. The emulator (FASTDIST_EMULATOR) compiles this file too: it answers for CPU tensors, under a namespace of its
// own.
#include "../op_bodies.h"

#if defined(FASTDIST_EMULATOR)
#define FASTDIST_OPS_NAMESPACE fastdist_emulator
#define FASTDIST_OPS_KEY CPU
#else
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#define FASTDIST_OPS_NAMESPACE fastdist
#define FASTDIST_OPS_KEY CUDA
// Lives in libtorch_cuda: absent, and null, under a torch for the CPU alone.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);
#endif

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
#if !defined(FASTDIST_EMULATOR)
        , guard_(on.get_device())
#endif
  {
    context_.allocate = [this](int64_t bytes) { return allocate(bytes); };
#if !defined(FASTDIST_EMULATOR)
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
    Tensor made = fastdist::empty(sizes, type, like_);
    mark_written(made);
    return made;
  }

  // The emulator fills what kernels have to write with what nobody could mean.
  void mark_written(Tensor& out) const {
#if defined(FASTDIST_EMULATOR)
    poison(out.mutable_data_ptr(), out.numel() * int64_t(out.element_size()));
#else
    (void)out;
#endif
  }

  void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element type, void* distances, void* indices,
           bool wide) const {
    cuda::edt(mask, spacing, options, type, distances, indices, wide, context_);
  }
  void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element type, void* distances) const {
    cuda::edt_labels(labels, spacing, options, type, distances, context_);
  }
  void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, const char*, bool float64,
                   void* maps) const {
    cuda::signed_maps(target, spacing, options, float64, maps, context_);
  }
  void weighted_sums(const Logits& logits, const void* maps, const Target& target, const Spacing& spacing, void* sums,
                     int64_t* counts, void* perfect) const {
    void* scratch = context_.allocate(weighted_sums_scratch(logits, target));
    cuda::weighted_sums(logits, maps, target, sums, counts, perfect, spacing.per_image, int(spacing.shared.size()), scratch,
                        context_.stream);
  }
  void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                              void* gradient) const {
    cuda::weighted_sums_backward(grad_sums, logits, maps, target, gradient, nullptr, 0, context_.stream);
  }

 private:
  void* allocate(int64_t bytes) {
    scratch_.push_back(empty({bytes}, ScalarType::Byte));
    return scratch_.back().mutable_data_ptr();
  }

  Tensor like_;
#if !defined(FASTDIST_EMULATOR)
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  Context context_;
  std::vector<Tensor> scratch_;
};

}  // namespace
}  // namespace fastdist::cuda

STABLE_TORCH_LIBRARY_IMPL(FASTDIST_OPS_NAMESPACE, FASTDIST_OPS_KEY, m) { FASTDIST_REGISTER_OPS(m, fastdist::cuda::Gpu); }
