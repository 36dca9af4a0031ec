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
  void* out = output_of(distances, sizes_of(in), "distances");
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
  void* out = output_of(distances, shape, "distances");
  shape.insert(shape.begin(), ndim);
  void* coordinates = output_of(indices, shape, "indices");
  edt(batch, spacing, {squared, border}, element_of(distances, "distances"), out, coordinates,
      element_of(indices, "indices") == Element::kI64, threads());
}

void edt_labels_out(Tensor labels, int64_t ndim, std::vector<double> sampling, std::optional<Tensor> item_sampling,
                    bool squared, bool border, Tensor distances) {
  const Tensor in = torch::stable::contiguous(labels);
  const auto per_image = contiguous(item_sampling);
  const Batch batch = batch_of(in, ndim, "labels");
  const Spacing spacing = spacing_of(sampling, per_image, batch.images, ndim, "sampling");
  void* out = output_of(distances, sizes_of(in), "distances");
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
          !empty.has_value(), !full.has_value(), empty.value_or(0), full.value_or(0), border};
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
  void* out = output_of(maps, expected, "maps");
  const Spacing spacing = spacing_of(sampling, per_image, what.images, ndim, "sampling");
  signed_maps(what, spacing, options_of(zero, normalize, clip, empty, full, border), "sampling",
              maps.scalar_type() == ScalarType::Double, out, threads());
}

std::string build_info() {
  return std::string("{\"cpu_level\": \"") + kernels().name + "\", \"compiler\": \"" + __VERSION__ + "\"}";
}

}  // namespace
}  // namespace fastdist

STABLE_TORCH_LIBRARY_IMPL(fastdist, CPU, m) {
  m.impl("edt_out", TORCH_BOX(&fastdist::edt_out));
  m.impl("edt_indices_out", TORCH_BOX(&fastdist::edt_indices_out));
  m.impl("edt_labels_out", TORCH_BOX(&fastdist::edt_labels_out));
  m.impl("signed_maps_out", TORCH_BOX(&fastdist::signed_maps_out));
}

STABLE_TORCH_LIBRARY_IMPL(fastdist, CompositeExplicitAutograd, m) { m.impl("build_info", TORCH_BOX(&fastdist::build_info)); }
