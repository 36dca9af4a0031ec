// The ops, written once: arguments unpacked, checked, and handed to a backend, the CPU's (ops.cpp) or the GPU's (cuda/ops.cu).
// The schemas are defined in fastdist/ops.py.
//
// A Backend is made of a tensor of the call's and has
//   empty(sizes, type)       a new tensor on that tensor's device
//   mark_written(tensor)     called with each output before the kernels write it
//   edt, edt_labels, signed_maps, weighted_sums, weighted_sums_backward     on plain memory
#pragma once

#include <tuple>

#include "op_arguments.h"

namespace fastdist {

template <class Backend>
struct Ops {
  using Sizes = std::vector<int64_t>;

  static void edt_out(Tensor mask, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                      bool squared, bool border, Tensor distances) {
    Backend backend(mask);
    const Tensor in = dense(mask);
    const auto per_image = dense(item_sampling);
    const Batch batch = batch_of(in, ndim, "mask");
    const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
    void* out = written(backend, distances, sizes_of(in), distance_types(squared, spacing), "distances", in);
    backend.edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, nullptr, false);
  }

  static void edt_indices_out(Tensor mask, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                              bool squared, bool border, Tensor distances, Tensor indices) {
    if (border) throw std::invalid_argument("border: expected False where indices are returned, got True");
    Backend backend(mask);
    const Tensor in = dense(mask);
    const auto per_image = dense(item_sampling);
    const Batch batch = batch_of(in, ndim, "mask");
    const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
    auto shape = sizes_of(in);
    shape.insert(shape.begin(), ndim);
    void* coordinates = written(backend, indices, shape, {ScalarType::Int, ScalarType::Long}, "indices", in);
    void* out = written(backend, distances, sizes_of(in), distance_types(squared, spacing), "distances", in);
    backend.edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, coordinates,
                element_of(indices, "indices") == Element::kI64);
  }

  static void edt_labels_out(Tensor labels, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                             bool squared, bool border, Tensor distances) {
    Backend backend(labels);
    const Tensor in = dense(labels);
    const auto per_image = dense(item_sampling);
    const Batch batch = batch_of(in, ndim, "labels");
    const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
    void* out = written(backend, distances, sizes_of(in), distance_types(squared, spacing), "distances", in);
    backend.edt_labels(batch, spacing, {squared, border}, element_of(distances, "distances"), out);
  }

  static void signed_maps_out(Tensor target, std::optional<Tensor> valid, std::string layout, int64_t first_class,
                              std::optional<int64_t> ignore_index, int64_t ndim, std::vector<double> sampling,
                              std::optional<Tensor> item_sampling, std::string zero, std::string normalize,
                              std::optional<double> clip, std::optional<double> empty, std::optional<double> full,
                              bool border, Tensor maps) {
    Backend backend(target);
    const Tensor in = dense(target);
    const auto known = dense(valid), per_image = dense(item_sampling);
    const auto shape = sizes_of(maps);
    if (shape.size() < 2) throw std::invalid_argument("maps: expected shape (images, maps, *space)");
    const Target what = target_of(in, known, layout, shape[1], first_class, ignore_index);
    const Spacing spacing = spacing_of(sampling, per_image, what.images, ndim, "sampling");
    void* out = written(backend, maps, shape_of_maps(what), {ScalarType::Float, ScalarType::Double}, "maps", in);
    backend.signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), "sampling",
                        maps.scalar_type() == ScalarType::Double, out);
  }

  static std::tuple<Tensor, Tensor, Tensor> weighted_sums(Tensor input, Tensor maps, Tensor target,
                                                          std::optional<Tensor> valid, std::string layout,
                                                          int64_t first_class, std::optional<int64_t> ignore_index,
                                                          std::string activation) {
    Backend backend(input);
    const LogitsTensor logits = logits_of(input, activation);
    const Tensor phi = dense(maps), labels = dense(target);
    const auto known = dense(valid);
    const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
    check_maps(phi, what, logits.logits);
    return sums_of(backend, logits, phi, what, Spacing{});
  }

  static Tensor weighted_sums_backward(Tensor grad_sums, Tensor input, Tensor maps, Tensor target,
                                       std::optional<Tensor> valid, std::string layout, int64_t first_class,
                                       std::optional<int64_t> ignore_index, std::string activation) {
    Backend backend(input);
    const GradientTensors tensors = gradient_of(logits_of(input, activation), activation);
    const Logits& logits = tensors.logits.logits;
    const Tensor phi = dense(maps), labels = dense(target);
    const Tensor g = dense(grad_sums);
    const auto known = dense(valid);
    const Target what = target_of(labels, known, layout, logits.channels - first_class, first_class, ignore_index);
    check_maps(phi, what, logits);
    check_grad_sums(g, what, logits);
    Tensor gradient = tensors.gradient;
    backend.mark_written(gradient);
    backend.weighted_sums_backward(g.const_data_ptr(), logits, phi.const_data_ptr(), what, gradient.mutable_data_ptr());
    return gradient;
  }

  static std::tuple<Tensor, Tensor, Tensor, Tensor> boundary_loss(
      Tensor input, Tensor target, std::optional<Tensor> valid, std::string layout, int64_t first_class,
      std::optional<int64_t> ignore_index, std::string activation, std::vector<double> sampling,
      std::optional<Tensor> item_sampling, std::string zero, std::string normalize, std::optional<double> clip,
      std::optional<double> empty, std::optional<double> full, bool border) {
    Backend backend(input);
    const LogitsTensor logits = logits_of(input, activation);
    const Tensor labels = dense(target);
    const auto known = dense(valid), per_image = dense(item_sampling);
    const Target what = target_of(labels, known, layout, logits.logits.channels - first_class, first_class, ignore_index);
    Tensor maps = backend.empty(shape_of_maps(what), sum_type(logits.logits));
    check_maps(maps, what, logits.logits);
    const Spacing spacing = spacing_of(sampling, per_image, what.images, int64_t(what.shape.size()), "spacing");
    void* out = written(backend, maps, shape_of_maps(what), {sum_type(logits.logits)}, "maps", labels);
    backend.signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), "spacing",
                        logits.logits.float64(), out);
    const auto [sums, counts, perfect] = sums_of(backend, logits, maps, what, spacing);
    return {sums, counts, perfect, maps};
  }

 private:
  static void* written(Backend& backend, Tensor& out, const Sizes& shape, const std::vector<ScalarType>& types,
                       const char* argument, const Tensor& input) {
    void* data = output_of(out, shape, types, argument, input);
    backend.mark_written(out);
    return data;
  }

  static Sizes shape_of_maps(const Target& target) {
    Sizes shape = target.shape;
    shape.insert(shape.begin(), {target.images, target.maps});
    return shape;
  }

  static std::tuple<Tensor, Tensor, Tensor> sums_of(Backend& backend, const LogitsTensor& input, const Tensor& maps,
                                                    const Target& target, const Spacing& spacing) {
    const ScalarType type = sum_type(input.logits);
    Tensor sums = backend.empty({target.images, target.maps}, type), counts = backend.empty({target.images}, ScalarType::Long);
    Tensor perfect = backend.empty({target.images, target.maps}, type);
    backend.weighted_sums(input.logits, maps.const_data_ptr(), target, spacing, sums.mutable_data_ptr(),
                          static_cast<int64_t*>(counts.mutable_data_ptr()), perfect.mutable_data_ptr());
    return {sums, counts, perfect};
  }
};

}  // namespace fastdist

// Registers all of them; `m` is the library of the key that the backend answers for.
#define FASTDIST_REGISTER_OPS(m, Backend)                                                                \
  m.impl("edt_out", TORCH_BOX(&fastdist::Ops<Backend>::edt_out));                                       \
  m.impl("edt_indices_out", TORCH_BOX(&fastdist::Ops<Backend>::edt_indices_out));                       \
  m.impl("edt_labels_out", TORCH_BOX(&fastdist::Ops<Backend>::edt_labels_out));                         \
  m.impl("signed_maps_out", TORCH_BOX(&fastdist::Ops<Backend>::signed_maps_out));                       \
  m.impl("weighted_sums", TORCH_BOX(&fastdist::Ops<Backend>::weighted_sums));                           \
  m.impl("weighted_sums_backward", TORCH_BOX(&fastdist::Ops<Backend>::weighted_sums_backward));         \
  m.impl("boundary_loss", TORCH_BOX(&fastdist::Ops<Backend>::boundary_loss))
