// Images whose last axis is thin, turned so that it comes first.
//
// A tile is 16 adjacent columns of the last axis (kernels/columns.h): of 17 slices the second tile holds one column and costs
// as much as the first. Distances do not depend on the order of the axes, so [rows][width] is computed as [width][rows].
#pragma once

#include <vector>

#include "threads.h"
#include "transform.h"

namespace fastdist {

class Turned {
 public:
  // `shape` of the image as it is given. It stays as it is unless turning it saves more than it costs.
  explicit Turned(const std::vector<int64_t>& shape);

  explicit operator bool() const { return turned_; }
  const Image& image() const { return image_; }  // to be computed
  Metric metric(const double* spacing, bool float64) const;  // of image(); `spacing` of the image as it is given

  // From the image as it is given to image(), and back; elements of 1, 2, 4 or 8 bytes.
  void turn(const void* given, int64_t element_bytes, void* to, Threads threads) const;
  void turn_back(const void* from, int64_t element_bytes, void* given, Threads threads) const;

 private:
  bool turned_;
  Image image_;
};

// An image's elements in the order of turned.image(): those given, or a copy.
class TurnedCopy {
 public:
  TurnedCopy(const Turned& turned, const void* given, int64_t element_bytes, Threads threads);
  const void* data() const { return data_; }

 private:
  Buffer copy_;
  const void* data_;
};

// Where a result in the order of turned.image() is to be written: `given` itself, or memory that finish() copies from. A result
// that is the same everywhere has no order.
class TurnedResult {
 public:
  TurnedResult(const Turned& turned, bool same_everywhere, int64_t element_bytes, void* given);
  void* data() const { return data_; }
  void finish(Threads threads) const;

 private:
  const Turned& turned_;
  int64_t element_bytes_;
  void* given_;
  Buffer own_;
  void* data_;
};

}  // namespace fastdist
