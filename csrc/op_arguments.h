// The arguments of the signed maps and the losses: tensors unpacked into the structs of core/arguments.h, and checked.
#pragma once

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "torch_shim.h"

namespace fastdist {

// `contiguous_target` and `valid` must outlive the result.
inline Target target_of(const Tensor& contiguous_target, const std::optional<Tensor>& valid, const std::string& layout,
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

inline SignedOptions options_of(const std::string& zero, const std::string& normalize, std::optional<double> clip,
                         std::optional<double> empty, std::optional<double> full, bool border) {
  return {zero_of(zero), normalize_of(normalize), clip.value_or(std::numeric_limits<double>::infinity()),
          !empty.has_value(), !full.has_value(), empty.value_or(0) + 0.0, full.value_or(0) + 0.0, border};  // no -0.0
}

// A tensor of logits whose voxels lie at one stride, so that kernels need no coordinates: any contiguous, channels-last or
// batch- or channel-strided tensor. Others are copied once.
struct LogitsTensor {
  Tensor tensor;
  Logits logits;
};

inline LogitsTensor logits_of(const Tensor& input, const std::string& activation) {
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
    tensor = dense(input);
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

inline ScalarType sum_type(const Logits& logits) { return logits.float64() ? ScalarType::Double : ScalarType::Float; }

inline void check_maps(const Tensor& maps, const Target& target, const Logits& logits) {
  auto expected = target.shape;
  expected.insert(expected.begin(), {target.images, target.maps});
  if (sizes_of(maps) != expected || maps.scalar_type() != sum_type(logits))
    throw std::invalid_argument("dist_map: expected one map of the accumulation dtype per image and class, of the input's space");
  if (logits.images != target.images || logits.channels != target.first_class + target.maps || logits.voxels != target.voxels)
    throw std::invalid_argument("target: expected the input's batch, classes and space");
}

inline void check_grad_sums(const Tensor& grad_sums, const Target& target, const Logits& logits) {
  if (grad_sums.scalar_type() != sum_type(logits) || sizes_of(grad_sums) != std::vector<int64_t>{target.images, target.maps})
    throw std::invalid_argument("grad_sums: expected shape (images, maps) of the accumulation dtype");
}

// Logits, and a tensor for their gradient with the same strides.
struct GradientTensors {
  LogitsTensor logits;
  Tensor gradient;
};

// Whether the logits lie side by side, in whatever order of their axes: then a tensor of the same strides is as large as they are.
inline bool side_by_side(const Logits& logits) {
  std::pair<int64_t, int64_t> axes[] = {{logits.image_stride, logits.images},
                                        {logits.channel_stride, logits.channels},
                                        {logits.voxel_stride, logits.voxels}};  // stride, size
  std::sort(std::begin(axes), std::end(axes));
  int64_t expected = 1;
  for (const auto& [stride, size] : axes) {
    if (size != 1 && stride != expected) return false;
    expected *= size;
  }
  return true;
}

inline GradientTensors gradient_of(LogitsTensor logits, const std::string& activation) {
  if (!side_by_side(logits.logits)) {  // overlapping, or with gaps: a copy has the strides of empty_like, as the fake kernel says
    Tensor copy = torch::stable::empty_like(logits.tensor);
    torch::stable::copy_(copy, logits.tensor);
    logits = logits_of(copy, activation);
  }
  const auto strides = logits.tensor.strides();
  return {logits, empty_strided(sizes_of(logits.tensor), {strides.begin(), strides.end()}, logits.tensor.scalar_type(), logits.tensor)};
}

}  // namespace fastdist
