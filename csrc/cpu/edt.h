// Distance transforms of batches of images on the CPU. Plain memory in, plain memory out; nothing here knows torch.
#pragma once

#include <atomic>
#include <vector>

#include "../core/arguments.h"
#include "transform.h"

namespace fastdist {

// Throws std::invalid_argument, naming `argument`, unless every spacing is finite and above zero.
void check_spacing(const Spacing& spacing, int64_t images, const char* argument);

// Distance of every voxel to the nearest zero; `indices` ([ndim][images][shape], int32 or, if wide, int64) may be null.
void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element out_type, void* distances, void* indices,
         bool wide, Threads threads);

// Distance of every voxel to the nearest voxel with a different label.
void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element out_type, void* distances,
                Threads threads);

// Distance of every voxel of one image to the nearest zero, and its coordinates (nearest.cpp).
void nearest_sources(const std::vector<int64_t>& shape, const double* spacing, const void* voxels, Element type,
                     const NearestOutput& out, Threads threads);

// What a result is where there is nothing to measure to.
void fill_unreachable(void* out, Element type, int64_t count);

// Runs body(image, threads for it) for every image: images side by side where there are enough of them.
template <class Body>
void for_each_image(int64_t images, int64_t voxels_each, Threads threads, const Body& body) {
  const Threads all = threads.for_voxels(images * voxels_each);
  const bool many = images >= 4 * all.count || (images >= all.count && voxels_each <= (int64_t(1) << 18));
  if (many && all.count > 1) {
    all.loop(images, all.grain(images), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i, Threads{1});
    });
  } else {
    for (int64_t i = 0; i < images; ++i) body(i, all);
  }
}

// Bits of one image's rows; returns how many are set.
int64_t pack_rows(const Image& image, const void* voxels, Element type, Predicate predicate, uint64_t* bits, Threads threads);

template <class PackRow>  // int64_t(row)
int64_t count_rows(const Image& image, Threads threads, const PackRow& pack_row) {
  std::atomic<int64_t> set{0};
  threads.loop(image.rows, threads.grain(image.rows), [&](int64_t begin, int64_t end) {
    int64_t here = 0;
    for (int64_t row = begin; row < end; ++row) here += pack_row(row);
    set += here;
  });
  return set.load();
}

}  // namespace fastdist
