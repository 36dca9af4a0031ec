// The exact distance transform on a GPU: plain device memory in, plain device memory out; nothing here knows torch.
//
// Every function puts its kernels into the context's stream and returns; none waits for the device or copies from the host.
#pragma once

#include <functional>

#include "../core/arguments.h"
#include "../core/metric.h"
#include "launch.h"

namespace fastdist::cuda {

struct Context {
  Stream stream;
  std::function<void*(int64_t bytes)> allocate;  // device memory that lives until the op has returned, in the stream's order

  template <class T>
  T* array(int64_t count) const {
    return static_cast<T*>(allocate(count * int64_t(sizeof(T))));
  }
};

// Sizes of one image, with at least one axis.
struct Image {
  int ndim;
  int64_t shape[kMaxDims];
  int64_t voxels, rows, width;
  int words;                 // of 32 voxels, a row
  Image(const int64_t* sizes, int dims);
};

// Distance of every voxel to the nearest zero; `indices` ([ndim][images][shape], int32 or, if wide, int64) may be null.
void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element out_type, void* distances, void* indices,
         bool wide, const Context& context);

// Distance of every voxel to the nearest voxel with a different label.
void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element out_type, void* distances,
                const Context& context);

// maps: [images][maps][shape], float or double. Labels that are no class count as ignored.
void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, bool float64, void* maps,
                 const Context& context);

}  // namespace fastdist::cuda
