#include "weighted_sums.h"

#include <vector>

namespace fastdist {

namespace {

// Voxels to a partial sum. Fixed, so that the result does not depend on the number of threads.
constexpr int64_t kChunk = 16384;

int64_t chunks_of(int64_t voxels) { return (voxels + kChunk - 1) / kChunk; }

SumsInput input_of(const Logits& logits, const void* maps, const Target& target, int64_t image) {
  const int64_t map_bytes = logits.float64() ? 8 : 4;
  SumsInput in{};
  in.input = static_cast<const char*>(logits.data) + image * logits.image_stride * element_bytes(logits.type);
  in.type = logits.type;
  in.channels = logits.channels;
  in.first_class = target.first_class;
  in.channel_stride = logits.channel_stride;
  in.voxel_stride = logits.voxel_stride;
  in.activation = logits.activation;
  in.maps = static_cast<const char*>(maps) + image * target.maps * target.voxels * map_bytes;
  in.map_stride = target.voxels;
  return in;
}

// Classes and known voxels of one chunk.
class ChunkTarget {
 public:
  ChunkTarget() : classes_(kChunk * 2), known_(kChunk) {}

  // Null where every voxel is known. Labels are checked on the way.
  const uint8_t* known(const Target& target, int64_t image, int64_t begin, int64_t end) {
    if (target.layout != Layout::kLabels) return target.valid ? target.valid + image * target.voxels + begin : nullptr;
    classify(target, image, begin, end, classes_.as<uint16_t>());
    if (!target.valid && !target.has_ignore) return nullptr;
    for (int64_t i = 0; i < end - begin; ++i) known_.as<uint8_t>()[i] = classes_.as<uint16_t>()[i] != kIgnoredClass;
    return known_.as<uint8_t>();
  }

  // Sums of the maps over the voxels that are really of the class: what a perfect prediction scores.
  template <class Value>
  void perfect(const Target& target, int64_t image, int64_t begin, int64_t end, const Value* maps, const uint8_t* known,
               double* sums) {
    if (target.layout == Layout::kLabels) {
      const uint16_t* classes = classes_.as<uint16_t>();
      for (int64_t i = 0; i < end - begin; ++i) {
        const int64_t j = int64_t(classes[i]) - target.first_class;
        if (j >= 0 && j < target.maps) sums[j] += double(maps[j * target.voxels + begin + i]);
      }
      return;
    }
    uint64_t bits[kChunk / 64 + 1];
    for (int64_t j = 0; j < target.maps; ++j) {
      const char* channel = static_cast<const char*>(target.channel(image, j)) + begin * element_bytes(target.type);
      kernels().pack(channel, target.type, target.predicate(), end - begin, bits);
      for (int64_t i = 0; i < end - begin; ++i)
        if ((bits[i >> 6] >> (i & 63) & 1) && (!known || known[i])) sums[j] += double(maps[j * target.voxels + begin + i]);
    }
  }

 private:
  Buffer classes_, known_;
};

}  // namespace

void weighted_sums(const Logits& logits, const void* maps, const Target& target, void* sums, int64_t* counts,
                   void* perfect, Threads threads) {
  const int64_t chunks = chunks_of(logits.voxels), all = logits.images * chunks;
  // Per chunk: sums, perfect, count.
  const int64_t each = 2 * target.maps + 1;
  std::vector<double> partial(size_t(all * each), 0.0);
  const Threads used = threads.for_voxels(logits.images * logits.channels * logits.voxels);
  used.loop(all, used.grain(all), [&](int64_t first, int64_t last) {
    Buffer workspace(logits.channels * kSumsBytes);
    ChunkTarget chunk_target;
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const int64_t image = chunk / chunks, begin = chunk % chunks * kChunk;
      const int64_t end = begin + kChunk < logits.voxels ? begin + kChunk : logits.voxels;
      double* out = partial.data() + chunk * each;
      SumsInput in = input_of(logits, maps, target, image);
      in.workspace = workspace.as<void>();
      const uint8_t* known = chunk_target.known(target, image, begin, end);
      in.known = known;
      kernels().sums(in, begin, end, out);
      if (logits.float64())
        chunk_target.perfect(target, image, begin, end, static_cast<const double*>(in.maps), known, out + target.maps);
      else
        chunk_target.perfect(target, image, begin, end, static_cast<const float*>(in.maps), known, out + target.maps);
      int64_t count = end - begin;
      if (known) {
        count = 0;
        for (int64_t i = 0; i < end - begin; ++i) count += known[i] != 0;
      }
      out[2 * target.maps] = double(count);
    }
  });
  for (int64_t image = 0; image < logits.images; ++image) {
    double count = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) count += partial[size_t(((image * chunks) + chunk) * each + each - 1)];
    counts[image] = int64_t(count);
    for (int64_t j = 0; j < target.maps; ++j) {
      double sum = 0, best = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const double* from = partial.data() + (image * chunks + chunk) * each;
        sum += from[j];
        best += from[target.maps + j];
      }
      const int64_t at = image * target.maps + j;
      if (logits.float64()) {
        static_cast<double*>(sums)[at] = sum;
        static_cast<double*>(perfect)[at] = best;
      } else {
        static_cast<float*>(sums)[at] = float(sum);
        static_cast<float*>(perfect)[at] = float(best);
      }
    }
  }
}

void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                            void* gradient, Threads threads) {
  const int64_t chunks = chunks_of(logits.voxels), all = logits.images * chunks;
  const Threads used = threads.for_voxels(logits.images * logits.channels * logits.voxels);
  used.loop(all, used.grain(all), [&](int64_t first, int64_t last) {
    Buffer workspace(logits.channels * kSumsBytes);
    ChunkTarget chunk_target;
    std::vector<double> of_sums(size_t(target.maps));
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const int64_t image = chunk / chunks, begin = chunk % chunks * kChunk;
      const int64_t end = begin + kChunk < logits.voxels ? begin + kChunk : logits.voxels;
      for (int64_t j = 0; j < target.maps; ++j) {
        const int64_t at = image * target.maps + j;
        of_sums[size_t(j)] =
            logits.float64() ? static_cast<const double*>(grad_sums)[at] : double(static_cast<const float*>(grad_sums)[at]);
      }
      SumsInput in = input_of(logits, maps, target, image);
      in.workspace = workspace.as<void>();
      const uint8_t* known = chunk_target.known(target, image, begin, end);
      in.known = known;
      char* out = static_cast<char*>(gradient) + image * logits.image_stride * element_bytes(logits.type);
      kernels().gradient(in, begin, end, of_sums.data(), out);
    }
  });
}

}  // namespace fastdist
