// The implementations of torch.ops.fastdist.* on a GPU: arguments unpacked, checked, and handed to the host code beside this.
// csrc/ops.cpp is the same for the CPU. The emulator (FASTDIST_EMULATOR) compiles this file too: it answers for CPU tensors,
// under a namespace of its own.
#include "../op_arguments.h"

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
class Call {
 public:
  explicit Call(const Tensor& on)
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
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const Context& context() const { return context_; }

  Tensor empty(const std::vector<int64_t>& sizes, ScalarType type) const {
    Tensor made = torch::stable::new_empty(like_, torch::headeronly::IntHeaderOnlyArrayRef(sizes.data(), sizes.size()), type);
    mark_unwritten(made);
    return made;
  }

  // The emulator fills what kernels have to write with what nobody could mean.
  static void mark_unwritten(Tensor& tensor) {
#if defined(FASTDIST_EMULATOR)
    poison(tensor.mutable_data_ptr(), tensor.numel() * int64_t(tensor.element_size()));
#else
    (void)tensor;
#endif
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

void* written(Tensor& out, const std::vector<int64_t>& shape, const std::vector<ScalarType>& types, const char* argument,
              const Tensor& input) {
  void* data = output_of(out, shape, types, argument, input);
  Call::mark_unwritten(out);
  return data;
}

void edt_out(Tensor mask, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling, bool squared,
             bool border, Tensor distances) {
  const Tensor in = torch::stable::contiguous(mask);
  const auto per_image = contiguous(item_sampling);
  const Batch batch = batch_of(in, ndim, "mask");
  const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
  void* out = written(distances, sizes_of(in), distance_types(squared, spacing), "distances", in);
  const Call call(in);
  edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, nullptr, false, call.context());
}

void edt_indices_out(Tensor mask, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                     bool squared, bool border, Tensor distances, Tensor indices) {
  if (border) throw std::invalid_argument("border: expected False where indices are returned, got True");
  const Tensor in = torch::stable::contiguous(mask);
  const auto per_image = contiguous(item_sampling);
  const Batch batch = batch_of(in, ndim, "mask");
  const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
  auto shape = sizes_of(in);
  shape.insert(shape.begin(), ndim);
  void* coordinates = written(indices, shape, {ScalarType::Int, ScalarType::Long}, "indices", in);
  void* out = written(distances, sizes_of(in), distance_types(squared, spacing), "distances", in);
  const Call call(in);
  edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, coordinates,
      element_of(indices, "indices") == Element::kI64, call.context());
}

void edt_labels_out(Tensor labels, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                    bool squared, bool border, Tensor distances) {
  const Tensor in = torch::stable::contiguous(labels);
  const auto per_image = contiguous(item_sampling);
  const Batch batch = batch_of(in, ndim, "labels");
  const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
  void* out = written(distances, sizes_of(in), distance_types(squared, spacing), "distances", in);
  const Call call(in);
  edt_labels(batch, spacing, {squared, border}, element_of(distances, "distances"), out, call.context());
}

void signed_maps_out(Tensor target, std::optional<Tensor> valid, std::string layout, int64_t first_class,
                     std::optional<int64_t> ignore_index, int64_t ndim, std::vector<double> sampling,
                     std::optional<Tensor> item_sampling, std::string zero, std::string normalize,
                     std::optional<double> clip, std::optional<double> empty, std::optional<double> full, bool border,
                     Tensor maps) {
  const Tensor in = torch::stable::contiguous(target);
  const auto known = contiguous(valid), per_image = contiguous(item_sampling);
  const auto shape = sizes_of(maps);
  if (shape.size() < 2) throw std::invalid_argument("maps: expected shape (images, maps, *space)");
  const Target what = target_of(in, known, layout, shape[1], first_class, ignore_index);
  auto expected = what.shape;
  expected.insert(expected.begin(), {what.images, what.maps});
  const Spacing spacing = spacing_of(sampling, per_image, what.images, ndim, "sampling");
  void* out = written(maps, expected, {ScalarType::Float, ScalarType::Double}, "maps", in);
  const Call call(in);
  signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border),
              maps.scalar_type() == ScalarType::Double, out, call.context());
}

struct Sums {
  Tensor sums, counts, perfect;
};

Sums sums_of(const LogitsTensor& input, const Tensor& maps, const Target& target, const Spacing& spacing, const Call& call) {
  const ScalarType type = sum_type(input.logits);
  Sums out{call.empty({target.images, target.maps}, type), call.empty({target.images}, ScalarType::Long),
           call.empty({target.images, target.maps}, type)};
  void* scratch = call.context().allocate(weighted_sums_scratch(input.logits, target));
  weighted_sums(input.logits, maps.const_data_ptr(), target, out.sums.mutable_data_ptr(),
                static_cast<int64_t*>(out.counts.mutable_data_ptr()), out.perfect.mutable_data_ptr(), spacing.per_image,
                int(spacing.shared.size()), scratch, call.context().stream);
  return out;
}

std::tuple<Tensor, Tensor, Tensor> weighted_sums_op(Tensor input, Tensor maps, Tensor target, std::optional<Tensor> valid,
                                                    std::string layout, int64_t first_class,
                                                    std::optional<int64_t> ignore_index, std::string activation) {
  const Call call(input);
  const LogitsTensor logits = logits_of(input, activation);
  const Tensor phi = torch::stable::contiguous(maps), labels = torch::stable::contiguous(target);
  const auto known = contiguous(valid);
  const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
  check_maps(phi, what, logits.logits);
  const Sums out = sums_of(logits, phi, what, Spacing{}, call);
  return {out.sums, out.counts, out.perfect};
}

Tensor weighted_sums_backward_op(Tensor grad_sums, Tensor input, Tensor maps, Tensor target, std::optional<Tensor> valid,
                                 std::string layout, int64_t first_class, std::optional<int64_t> ignore_index,
                                 std::string activation) {
  const Call call(input);
  const GradientTensors tensors = gradient_of(logits_of(input, activation), activation);
  const Logits& logits = tensors.logits.logits;
  const Tensor phi = torch::stable::contiguous(maps), labels = torch::stable::contiguous(target);
  const Tensor g = torch::stable::contiguous(grad_sums);
  const auto known = contiguous(valid);
  const Target what = target_of(labels, known, layout, logits.channels - first_class, first_class, ignore_index);
  check_maps(phi, what, logits);
  check_grad_sums(g, what, logits);
  Tensor gradient = tensors.gradient;
  Call::mark_unwritten(gradient);
  weighted_sums_backward(g.const_data_ptr(), logits, phi.const_data_ptr(), what, gradient.mutable_data_ptr(), nullptr, 0,
                         call.context().stream);
  return gradient;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> boundary_loss(
    Tensor input, Tensor target, std::optional<Tensor> valid, std::string layout, int64_t first_class,
    std::optional<int64_t> ignore_index, std::string activation, std::vector<double> sampling,
    std::optional<Tensor> item_sampling, std::string zero, std::string normalize, std::optional<double> clip,
    std::optional<double> empty, std::optional<double> full, bool border) {
  const Call call(input);
  const LogitsTensor logits = logits_of(input, activation);
  const Tensor labels = torch::stable::contiguous(target);
  const auto known = contiguous(valid), per_image = contiguous(item_sampling);
  const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
  auto shape = what.shape;
  shape.insert(shape.begin(), {what.images, what.maps});
  Tensor maps = call.empty(shape, sum_type(logits.logits));
  check_maps(maps, what, logits.logits);
  const Spacing spacing = spacing_of(sampling, per_image, what.images, int64_t(what.shape.size()), "spacing");
  signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), logits.logits.float64(),
              maps.mutable_data_ptr(), call.context());
  const Sums out = sums_of(logits, maps, what, spacing, call);
  return {out.sums, out.counts, out.perfect, maps};
}

}  // namespace
}  // namespace fastdist::cuda

STABLE_TORCH_LIBRARY_IMPL(FASTDIST_OPS_NAMESPACE, FASTDIST_OPS_KEY, m) {
  m.impl("edt_out", TORCH_BOX(&fastdist::cuda::edt_out));
  m.impl("edt_indices_out", TORCH_BOX(&fastdist::cuda::edt_indices_out));
  m.impl("edt_labels_out", TORCH_BOX(&fastdist::cuda::edt_labels_out));
  m.impl("signed_maps_out", TORCH_BOX(&fastdist::cuda::signed_maps_out));
  m.impl("weighted_sums", TORCH_BOX(&fastdist::cuda::weighted_sums_op));
  m.impl("weighted_sums_backward", TORCH_BOX(&fastdist::cuda::weighted_sums_backward_op));
  m.impl("boundary_loss", TORCH_BOX(&fastdist::cuda::boundary_loss));
}
