// The few helpers between LibTorch's stable ABI and the plain structs of the kernels.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/arguments.h"
#include "core/metric.h"
#include "core/out_of_memory.h"

namespace fastdist {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Element element_of(const Tensor& tensor, const char* argument) {
  switch (tensor.scalar_type()) {
    case ScalarType::Bool: return Element::kBool;
    case ScalarType::Byte: return Element::kU8;
    case ScalarType::Char: return Element::kI8;
    case ScalarType::Short: return Element::kI16;
    case ScalarType::Int: return Element::kI32;
    case ScalarType::Long: return Element::kI64;
    case ScalarType::UInt16: return Element::kU16;
    case ScalarType::UInt32: return Element::kU32;
    case ScalarType::UInt64: return Element::kU64;
    case ScalarType::Half: return Element::kF16;
    case ScalarType::BFloat16: return Element::kBF16;
    case ScalarType::Float: return Element::kF32;
    case ScalarType::Double: return Element::kF64;
    default:
      throw std::invalid_argument(std::string(argument) + ": expected a bool, integer or floating dtype");
  }
}

inline std::vector<int64_t> sizes_of(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  return {sizes.begin(), sizes.end()};
}

// The last `ndim` axes are space, those before them are images.
inline Batch batch_of(const Tensor& contiguous, int64_t ndim, const char* argument) {
  const auto sizes = sizes_of(contiguous);
  if (ndim < 0 || ndim > int64_t(sizes.size()) || ndim > kMaxDims)
    throw std::invalid_argument("ndim: expected 0 to " + std::to_string(sizes.size()) + ", got " + std::to_string(ndim));
  Batch batch{contiguous.const_data_ptr(), element_of(contiguous, argument), 1, {}};
  const size_t batch_axes = sizes.size() - size_t(ndim);
  for (size_t a = 0; a < batch_axes; ++a) batch.images *= sizes[a];
  batch.shape.assign(sizes.begin() + int64_t(batch_axes), sizes.end());
  return batch;
}

// `per_image` must outlive the result, and be contiguous float64.
inline Spacing spacing_of(const std::vector<double>& shared, const std::optional<Tensor>& per_image, int64_t images,
                          int64_t ndim, const char* argument) {
  Spacing spacing{shared, nullptr};
  if (int64_t(shared.size()) != ndim)
    throw std::invalid_argument(std::string(argument) + ": expected " + std::to_string(ndim) + " numbers, got " +
                                std::to_string(shared.size()));
  if (!per_image) return spacing;
  if (per_image->scalar_type() != ScalarType::Double || sizes_of(*per_image) != std::vector<int64_t>{images, ndim})
    throw std::invalid_argument(std::string(argument) + ": expected a float64 tensor of shape (" + std::to_string(images) +
                                ", " + std::to_string(ndim) + "), one row per image");
  spacing.per_image = per_image->const_data_ptr<double>();
  return spacing;
}

inline int32_t dtype_of(ScalarType type) {
  return torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
}

inline int64_t bytes_of(const std::vector<int64_t>& sizes, ScalarType type) {
  int64_t bytes = int64_t(aoti_torch_dtype_element_size(dtype_of(type)));
  for (int64_t size : sizes) bytes *= size;
  return bytes;
}

// A new tensor on the device of `like`. Torch's allocator by its shortest way: the op aten::empty_strided takes a
// small loss longer than its kernels do.
inline Tensor empty_strided(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides, ScalarType type,
                            const Tensor& like) {
  int32_t device_type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  AtenTensorHandle made = nullptr;
  if (aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides.data(), dtype_of(type), device_type,
                               like.is_cpu() ? 0 : like.get_device(), &made) != AOTI_TORCH_SUCCESS)
    throw OutOfMemory(bytes_of(sizes, type), like.is_cpu() ? "the CPU" : "cuda:" + std::to_string(like.get_device()));
  return Tensor(made);
}

inline Tensor empty(const std::vector<int64_t>& sizes, ScalarType type, const Tensor& like) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t a = sizes.size(); a-- > 1;) strides[a - 1] = strides[a] * (sizes[a] > 1 ? sizes[a] : 1);
  return empty_strided(sizes, strides, type, like);
}

inline Tensor dense(const Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor;
  Tensor copy = empty(sizes_of(tensor), tensor.scalar_type(), tensor);
  torch::stable::copy_(copy, tensor);
  return copy;
}

inline std::optional<Tensor> dense(const std::optional<Tensor>& tensor) {
  if (!tensor) return std::nullopt;
  return dense(*tensor);
}

// An output of the caller's: contiguous, on the input's device, of the expected shape and one of the expected dtypes, and not
// the memory that is read.
inline void* output_of(Tensor& out, const std::vector<int64_t>& shape, const std::vector<ScalarType>& dtypes,
                       const char* argument, const Tensor& input) {
  bool expected = false;
  for (ScalarType dtype : dtypes) expected = expected || out.scalar_type() == dtype;
  if (!expected) throw std::invalid_argument(std::string(argument) + ": got a dtype that this result cannot have");
  if (out.is_cpu() != input.is_cpu() || out.get_device() != input.get_device() || !out.is_contiguous() || sizes_of(out) != shape)
    throw std::invalid_argument(std::string(argument) + ": expected a contiguous tensor of the input's shape, on its device");
  char* data = static_cast<char*>(out.mutable_data_ptr());
  const int64_t bytes = out.numel() * int64_t(out.element_size());
  const char* read = static_cast<const char*>(input.const_data_ptr());
  if (bytes > 0 && data < read + input.numel() * int64_t(input.element_size()) && read < data + bytes)
    throw std::invalid_argument(std::string(argument) + ": overlaps the input");
  return data;
}

// Distances are floating; squared ones at unit sampling may be whole numbers.
inline std::vector<ScalarType> distance_types(bool squared, const Spacing& spacing) {
  bool unit = spacing.per_image == nullptr;
  for (double h : spacing.shared) unit = unit && h == 1.0;
  if (squared && unit) return {ScalarType::Float, ScalarType::Double, ScalarType::Int, ScalarType::Long};
  return {ScalarType::Float, ScalarType::Double};
}

}  // namespace fastdist
