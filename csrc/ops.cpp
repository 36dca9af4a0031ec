// The compiled implementations of torch.ops.fastdist.*: arguments unpacked, checked, and handed to csrc/cpu.
// The schemas are defined in fastdist/ops.py; everything here is for the CPU key.
#include "torch_shim.h"

namespace fastdist {
namespace {

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
  void* coordinates = output_of(indices, shape, {ScalarType::Int, ScalarType::Long}, "indices", in);
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

// `contiguous_target` and `valid` must outlive the result.
Target target_of(const Tensor& contiguous_target, const std::optional<Tensor>& valid, const std::string& layout,
                 int64_t maps, int64_t first_class, std::optional<int64_t> ignore_index) {
  Target target{};
  target.data = contiguous_target.const_data_ptr();
  target.type = element_of(contiguous_target, "target");
  target.layout = layout_of(layout);
  const auto sizes = sizes_of(contiguous_target);
  const size_t axes = target.layout == Layout::kLabels ? 1 : 2;
  if (sizes.size() < axes) throw std::invalid_argument("target: has too few axes for layout '" + layout + "'");
  target.images = sizes[0];
  target.maps = maps;
  if (axes == 2 && sizes[1] != maps)
    throw std::invalid_argument("target: expected " + std::to_string(maps) + " channels, got " + std::to_string(sizes[1]));
  if (first_class < 0 || maps < 0)
    throw std::invalid_argument("first_class: expected a class of the input, got " + std::to_string(first_class));
  target.first_class = first_class;
  target.has_ignore = ignore_index.has_value();
  target.ignore = ignore_index.value_or(0);
  target.shape.assign(sizes.begin() + int64_t(axes), sizes.end());
  target.voxels = 1;
  for (int64_t size : target.shape) target.voxels *= size;
  if (valid) {
    auto expected = target.shape;
    expected.insert(expected.begin(), target.images);
    if (valid->scalar_type() != ScalarType::Bool || sizes_of(*valid) != expected)
      throw std::invalid_argument("mask: expected a bool tensor of the images' shape");
    target.valid = static_cast<const uint8_t*>(valid->const_data_ptr());
  }
  return target;
}

SignedOptions options_of(const std::string& zero, const std::string& normalize, std::optional<double> clip,
                         std::optional<double> empty, std::optional<double> full, bool border) {
  return {zero_of(zero), normalize_of(normalize), clip.value_or(std::numeric_limits<double>::infinity()),
          !empty.has_value(), !full.has_value(), empty.value_or(0) + 0.0, full.value_or(0) + 0.0, border};  // no -0.0
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
  void* out = output_of(maps, expected, {ScalarType::Float, ScalarType::Double}, "maps", in);
  const Spacing spacing = spacing_of(sampling, per_image, what.images, ndim, "sampling");
  signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), "sampling",
              maps.scalar_type() == ScalarType::Double, out, threads());
}

// A tensor of logits whose voxels lie at one stride, so that kernels need no coordinates: any contiguous, channels-last or
// batch- or channel-strided tensor. Others are copied once.
struct LogitsTensor {
  Tensor tensor;
  Logits logits;
};

LogitsTensor logits_of(const Tensor& input, const std::string& activation) {
  const auto sizes = sizes_of(input);
  if (sizes.size() < 2) throw std::invalid_argument("input: expected shape (images, channels, *space)");
  auto uniform = [](const Tensor& t) {  // the stride of the voxels, or 0
    int64_t stride = t.dim() > 2 ? t.stride(t.dim() - 1) : 1, expected = stride;
    for (int64_t a = t.dim() - 1; a >= 2; --a) {
      if (t.size(a) != 1 && t.stride(a) != expected) return int64_t(0);
      expected *= t.size(a);
    }
    return stride;
  };
  Tensor tensor = input;
  int64_t stride = input.numel() == 0 ? 0 : uniform(tensor);
  if (stride == 0) {
    tensor = torch::stable::contiguous(input);
    stride = 1;
  }
  Logits logits{};
  logits.data = tensor.const_data_ptr();
  logits.type = element_of(tensor, "input");
  if (element_bytes(logits.type) < 2 || (logits.type != Element::kF16 && logits.type != Element::kBF16 &&
                                         logits.type != Element::kF32 && logits.type != Element::kF64))
    throw std::invalid_argument("input: expected float16, bfloat16, float32 or float64");
  logits.images = sizes[0];
  logits.channels = sizes[1];
  logits.voxels = 1;
  for (size_t a = 2; a < sizes.size(); ++a) logits.voxels *= sizes[a];
  logits.image_stride = tensor.stride(0);
  logits.channel_stride = tensor.stride(1);
  logits.voxel_stride = stride;
  logits.activation = activation_of(activation);
  return {tensor, logits};
}

ScalarType sum_type(const Logits& logits) { return logits.float64() ? ScalarType::Double : ScalarType::Float; }

void check_maps(const Tensor& maps, const Target& target, const Logits& logits) {
  auto expected = target.shape;
  expected.insert(expected.begin(), {target.images, target.maps});
  if (sizes_of(maps) != expected || maps.scalar_type() != sum_type(logits))
    throw std::invalid_argument("dist_map: expected one map of the accumulation dtype per image and class, of the input's space");
  if (logits.images != target.images || logits.channels != target.first_class + target.maps || logits.voxels != target.voxels)
    throw std::invalid_argument("target: expected the input's batch, classes and space");
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
  LogitsTensor logits = logits_of(input, activation);
  const Tensor phi = torch::stable::contiguous(maps), labels = torch::stable::contiguous(target);
  const Tensor g = torch::stable::contiguous(grad_sums);
  const auto known = contiguous(valid);
  const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
  check_maps(phi, what, logits.logits);
  if (g.scalar_type() != sum_type(logits.logits) || sizes_of(g) != std::vector<int64_t>{what.images, what.maps})
    throw std::invalid_argument("grad_sums: expected shape (images, maps) of the accumulation dtype");
  Tensor gradient = torch::stable::empty_like(logits.tensor);
  for (int64_t a = 0; a < gradient.dim(); ++a)
    if (gradient.size(a) > 1 && gradient.stride(a) != logits.tensor.stride(a)) {
      // Overlapping or gapped logits: a dense copy has the gradient's strides.
      logits = logits_of(torch::stable::contiguous(logits.tensor), activation);
      gradient = torch::stable::empty_like(logits.tensor);
      break;
    }
  prefer_huge_pages(gradient.mutable_data_ptr(), gradient.numel() * int64_t(gradient.element_size()));
  weighted_sums_backward(g.const_data_ptr(), logits.logits, phi.const_data_ptr(), what, gradient.mutable_data_ptr(), threads());
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
              output_of(maps, shape, {sum_type(logits.logits)}, "maps", labels), threads());
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
