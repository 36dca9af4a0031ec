// The compiled implementations of torch.ops.fastdist.* for the CPU: arguments unpacked, checked, and handed to csrc/cpu.
// The schemas are defined in fastdist/ops.py; csrc/cuda/ops.cu is the same for CUDA.
#include "cpu/weighted_sums.h"
#include "op_arguments.h"

namespace fastdist {
namespace {

Threads threads() { return {int(torch::stable::get_num_threads())}; }

// The pages of an output are asked for in one go.
void* written(Tensor& out, const std::vector<int64_t>& shape, const std::vector<ScalarType>& types, const char* argument,
              const Tensor& input) {
  void* data = output_of(out, shape, types, argument, input);
  prefer_huge_pages(data, out.numel() * int64_t(out.element_size()));
  return data;
}

void* distances_of(Tensor& out, const Tensor& input, bool squared, const Spacing& spacing) {
  return written(out, sizes_of(input), distance_types(squared, spacing), "distances", input);
}

void edt_out(Tensor mask, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling, bool squared,
             bool border, Tensor distances) {
  const Tensor in = torch::stable::contiguous(mask);
  const auto per_image = contiguous(item_sampling);
  const Batch batch = batch_of(in, ndim, "mask");
  const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
  void* out = distances_of(distances, in, squared, spacing);
  edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, nullptr, false, threads());
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
  void* out = distances_of(distances, in, squared, spacing);
  edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, coordinates,
      element_of(indices, "indices") == Element::kI64, threads());
}

void edt_labels_out(Tensor labels, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                    bool squared, bool border, Tensor distances) {
  const Tensor in = torch::stable::contiguous(labels);
  const auto per_image = contiguous(item_sampling);
  const Batch batch = batch_of(in, ndim, "labels");
  const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
  void* out = distances_of(distances, in, squared, spacing);
  edt_labels(batch, spacing, {squared, border}, element_of(distances, "distances"), out, threads());
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
  void* out = written(maps, expected, {ScalarType::Float, ScalarType::Double}, "maps", in);
  const Spacing spacing = spacing_of(sampling, per_image, what.images, ndim, "sampling");
  signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), "sampling",
              maps.scalar_type() == ScalarType::Double, out, threads());
}

struct Sums {
  Tensor sums, counts, perfect;
};

Sums sums_of(const LogitsTensor& input, const Tensor& maps, const Target& target) {
  Sums out{torch::stable::new_empty(maps, {target.images, target.maps}),
           torch::stable::new_empty(maps, {target.images}, ScalarType::Long),
           torch::stable::new_empty(maps, {target.images, target.maps})};
  weighted_sums(input.logits, maps.const_data_ptr(), target, out.sums.mutable_data_ptr(),
                out.counts.mutable_data_ptr<int64_t>(), out.perfect.mutable_data_ptr(), threads());
  return out;
}

std::tuple<Tensor, Tensor, Tensor> weighted_sums_op(Tensor input, Tensor maps, Tensor target, std::optional<Tensor> valid,
                                                    std::string layout, int64_t first_class,
                                                    std::optional<int64_t> ignore_index, std::string activation) {
  const LogitsTensor logits = logits_of(input, activation);
  const Tensor phi = torch::stable::contiguous(maps), labels = torch::stable::contiguous(target);
  const auto known = contiguous(valid);
  const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
  check_maps(phi, what, logits.logits);
  const Sums out = sums_of(logits, phi, what);
  return {out.sums, out.counts, out.perfect};
}

Tensor weighted_sums_backward_op(Tensor grad_sums, Tensor input, Tensor maps, Tensor target, std::optional<Tensor> valid,
                                 std::string layout, int64_t first_class, std::optional<int64_t> ignore_index,
                                 std::string activation) {
  const GradientTensors tensors = gradient_of(logits_of(input, activation), activation);
  const Logits& logits = tensors.logits.logits;
  const Tensor phi = torch::stable::contiguous(maps), labels = torch::stable::contiguous(target);
  const Tensor g = torch::stable::contiguous(grad_sums);
  const auto known = contiguous(valid);
  const Target what = target_of(labels, known, layout, logits.channels - first_class, first_class, ignore_index);
  check_maps(phi, what, logits);
  check_grad_sums(g, what, logits);
  Tensor gradient = tensors.gradient;
  prefer_huge_pages(gradient.mutable_data_ptr(), gradient.numel() * int64_t(gradient.element_size()));
  weighted_sums_backward(g.const_data_ptr(), logits, phi.const_data_ptr(), what, gradient.mutable_data_ptr(), threads());
  return gradient;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> boundary_loss(
    Tensor input, Tensor target, std::optional<Tensor> valid, std::string layout, int64_t first_class,
    std::optional<int64_t> ignore_index, std::string activation, std::vector<double> sampling,
    std::optional<Tensor> item_sampling, std::string zero, std::string normalize, std::optional<double> clip,
    std::optional<double> empty, std::optional<double> full, bool border) {
  const LogitsTensor logits = logits_of(input, activation);
  const Tensor labels = torch::stable::contiguous(target);
  const auto known = contiguous(valid), per_image = contiguous(item_sampling);
  const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
  auto shape = what.shape;
  shape.insert(shape.begin(), {what.images, what.maps});
  Tensor maps = torch::stable::new_empty(input, torch::headeronly::IntHeaderOnlyArrayRef(shape.data(), shape.size()),
                                         sum_type(logits.logits));
  check_maps(maps, what, logits.logits);
  const Spacing spacing = spacing_of(sampling, per_image, what.images, int64_t(what.shape.size()), "spacing");
  signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), "spacing", logits.logits.float64(),
              written(maps, shape, {sum_type(logits.logits)}, "maps", labels), threads());
  const Sums out = sums_of(logits, maps, what);
  return {out.sums, out.counts, out.perfect, maps};
}

#ifndef FASTDIST_VERSION  // the build defines these
#define FASTDIST_VERSION "unknown"
#define FASTDIST_TORCH_HEADERS "unknown"
#endif
#ifndef FASTDIST_CUDA_ARCHITECTURES
#define FASTDIST_CUDA_ARCHITECTURES "none"
#endif
#if defined(FASTDIST_NO_X86_LEVELS) || !defined(__x86_64__)
#define FASTDIST_CPU_LEVELS "baseline"
#else
#define FASTDIST_CPU_LEVELS "baseline v3 v4"
#endif

std::string build_info() {
  return std::string("{\"version\": \"" FASTDIST_VERSION "\", \"cpu_levels\": \"" FASTDIST_CPU_LEVELS "\", \"cpu_level\": \"") +
         kernels().name + "\", \"torch\": \"stable ABI of 2.10, headers of " FASTDIST_TORCH_HEADERS
         "\", \"cuda_architectures\": \"" FASTDIST_CUDA_ARCHITECTURES "\", \"compiler\": \"" __VERSION__ "\"}";
}

}  // namespace
}  // namespace fastdist

STABLE_TORCH_LIBRARY_IMPL(fastdist, CPU, m) {
  m.impl("edt_out", TORCH_BOX(&fastdist::edt_out));
  m.impl("edt_indices_out", TORCH_BOX(&fastdist::edt_indices_out));
  m.impl("edt_labels_out", TORCH_BOX(&fastdist::edt_labels_out));
  m.impl("signed_maps_out", TORCH_BOX(&fastdist::signed_maps_out));
  m.impl("weighted_sums", TORCH_BOX(&fastdist::weighted_sums_op));
  m.impl("weighted_sums_backward", TORCH_BOX(&fastdist::weighted_sums_backward_op));
  m.impl("boundary_loss", TORCH_BOX(&fastdist::boundary_loss));
}

STABLE_TORCH_LIBRARY_IMPL(fastdist, CompositeExplicitAutograd, m) { m.impl("build_info", TORCH_BOX(&fastdist::build_info)); }
