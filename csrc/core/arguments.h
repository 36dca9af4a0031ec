// What an op is asked to do, unpacked from its tensors: plain structs of pointers and numbers, the same for the CPU and CUDA.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "conventions.h"
#include "elements.h"

namespace fastdist {

// Contiguous images of one shape.
struct Batch {
  const void* data;
  Element type;
  int64_t images;
  std::vector<int64_t> shape;  // of one image
};

struct Spacing {
  std::vector<double> shared;      // per axis
  const double* per_image = nullptr;  // [images][ndim], or null; on the device of the images
  const double* of(int64_t image) const {
    return per_image ? per_image + image * int64_t(shared.size()) : shared.data();
  }
};

struct EdtOptions {
  bool squared;
  bool border;
};

enum class Layout { kLabels, kNonzero, kAboveHalf };

inline Layout layout_of(const std::string& name) {
  if (name == "labels") return Layout::kLabels;
  if (name == "nonzero") return Layout::kNonzero;
  if (name == "above_half") return Layout::kAboveHalf;
  throw std::invalid_argument("layout: got '" + name + "', expected 'labels', 'nonzero' or 'above_half'");
}

// What the network should have predicted. Labels: [images][shape]. Channels: [images][maps][shape].
struct Target {
  const void* data;
  Element type;
  Layout layout;
  int64_t images, maps;         // `maps` classes, beginning with class `first_class`
  int64_t first_class;
  bool has_ignore;
  int64_t ignore;
  const uint8_t* valid;         // [images][shape], 0 = ignored; or null
  std::vector<int64_t> shape;   // of the space
  int64_t voxels;
  Predicate predicate() const { return layout == Layout::kNonzero ? Predicate::kNonzero : Predicate::kAboveHalf; }
  LabelRange range() const { return {type, first_class + maps, has_ignore, ignore}; }
  const void* channel(int64_t image, int64_t map) const {
    return static_cast<const char*>(data) + (image * maps + map) * voxels * element_bytes(type);
  }
  void check_classes() const {
    if (layout == Layout::kLabels && range().classes > kMostClasses)
      throw std::invalid_argument("num_classes: expected at most " + std::to_string(kMostClasses) + ", got " +
                                  std::to_string(range().classes));
  }
};

struct SignedOptions {
  Zero zero;
  Normalize normalize;
  double clip;            // infinity: none
  bool empty_diagonal, full_diagonal;
  double empty, full;     // where not the diagonal
  bool border;
};

inline Activation activation_of(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "sigmoid") return Activation::kSigmoid;
  if (name == "softmax") return Activation::kSoftmax;
  throw std::invalid_argument("activation: got '" + name + "', expected 'none', 'sigmoid' or 'softmax'");
}

// Logits or probabilities, [images][channels][voxels] in any order of memory.
struct Logits {
  const void* data;
  Element type;
  int64_t images, channels, voxels;
  int64_t image_stride, channel_stride, voxel_stride;
  Activation activation;
  bool float64() const { return type == Element::kF64; }
};

}  // namespace fastdist
