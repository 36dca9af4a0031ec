// Signed distance maps of masks, channels and integer labels on the CPU.
#pragma once

#include "../core/conventions.h"
#include "edt.h"

namespace fastdist {

enum class Layout { kLabels, kNonzero, kAboveHalf };
Layout layout_of(const std::string& name);

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
};

// Labels as compact classes, checked: throws std::invalid_argument for a label out of range.
void classify(const Target& target, int64_t image, int64_t begin, int64_t end, uint16_t* classes);

struct SignedOptions {
  Zero zero;
  Normalize normalize;
  double clip;            // infinity: none
  bool empty_diagonal, full_diagonal;
  double empty, full;     // where not the diagonal
  bool border;
};

// maps: [images][maps][shape], float or double.
void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, const char* spacing_name,
                 bool float64, void* maps, Threads threads);

}  // namespace fastdist
