// The loss: sums of probability times map, and their gradient, in one sweep over the logits each.
//
// Voxels are taken in blocks that stay in cache with all their channels. The softmax exists for one block at a time; what
// stands in memory are the logits, the maps, and in the backward pass the gradient.
//
//   sums_j = sum_x p_j(x) phi_j(x)
//   d/dz_k = p_k (g_k phi_k - sum_j g_j p_j phi_j)      softmax, g the gradient of the sums
//          = g_k phi_k p_k (1 - p_k)                    sigmoid
//          = g_k phi_k                                  probabilities
#pragma once

#include "exp.h"
#include "half.h"

namespace fastdist::FASTDIST_LEVEL {

constexpr int kSumsBlock = 128;  // voxels; 128 x 5 channels x 4 B and their maps fit the first-level cache

template <class A>
FASTDIST_INLINE A sigmoid_of(A x) {
  const A e = exp_of(x < 0 ? x : -x);
  const A p = (x < 0 ? e : A(1)) / (1 + e);
  return p;
}

// Probabilities of `count` voxels from voxel `begin` on, [channels][kSumsBlock].
template <class T, class A>
FASTDIST_INLINE void probabilities(const SumsInput& in, int64_t begin, int count, A* p) {
  const T* input = static_cast<const T*>(in.input) + begin * in.voxel_stride;
  for (int64_t c = 0; c < in.channels; ++c) {
    const T* from = input + c * in.channel_stride;
    A* to = p + c * kSumsBlock;
    if (in.voxel_stride == 1) {
      for (int i = 0; i < count; ++i) to[i] = widen<A>(from[i]);
    } else {
      for (int i = 0; i < count; ++i) to[i] = widen<A>(from[i * in.voxel_stride]);
    }
    for (int i = count; i < kSumsBlock; ++i) to[i] = 0;
  }
  if (in.activation == Activation::kSigmoid) {
    for (int64_t i = 0; i < in.channels * kSumsBlock; ++i) p[i] = sigmoid_of(p[i]);
  } else if (in.activation == Activation::kSoftmax) {
    alignas(64) A largest[kSumsBlock], total[kSumsBlock];
    for (int i = 0; i < kSumsBlock; ++i) {
      largest[i] = p[i];
      total[i] = 0;
    }
    for (int64_t c = 1; c < in.channels; ++c)
      for (int i = 0; i < kSumsBlock; ++i) largest[i] = p[c * kSumsBlock + i] > largest[i] ? p[c * kSumsBlock + i] : largest[i];
    for (int64_t c = 0; c < in.channels; ++c)
      for (int i = 0; i < kSumsBlock; ++i) {
        const A e = exp_of(p[c * kSumsBlock + i] - largest[i]);
        p[c * kSumsBlock + i] = e;
        total[i] += e;
      }
    for (int i = 0; i < kSumsBlock; ++i) total[i] = 1 / total[i];
    for (int64_t c = 0; c < in.channels; ++c)
      for (int i = 0; i < kSumsBlock; ++i) p[c * kSumsBlock + i] *= total[i];
  }
}

// Sums of one lane of accumulators each, added pairwise at the end: the order never depends on the caller.
template <class A>
FASTDIST_INLINE A add_up(A* lanes) {
  for (int width = kTile / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

template <class T, class A>
void sums_of(const SumsInput& in, int64_t begin, int64_t end, double* sums) {
  const int64_t maps = in.channels - in.first_class;
  A* p = static_cast<A*>(in.workspace);
  for (int64_t j = 0; j < maps; ++j) sums[j] = 0;
  for (int64_t at = begin; at < end; at += kSumsBlock) {
    const int count = end - at < kSumsBlock ? int(end - at) : kSumsBlock;
    probabilities<T, A>(in, at, count, p);
    const uint8_t* known = in.known ? in.known + (at - begin) : nullptr;
    for (int64_t j = 0; j < maps; ++j) {
      const A* phi = static_cast<const A*>(in.maps) + j * in.map_stride + at;
      const A* of_class = p + (in.first_class + j) * kSumsBlock;
      alignas(64) A lanes[kTile] = {};
      if (count == kSumsBlock && !known) {
        for (int i = 0; i < kSumsBlock; i += kTile)
          for (int l = 0; l < kTile; ++l) lanes[l] += of_class[i + l] * phi[i + l];
      } else {
        for (int i = 0; i < count; ++i)
          if (!known || known[i]) lanes[i % kTile] += of_class[i] * phi[i];
      }
      sums[j] += double(add_up(lanes));
    }
  }
}

template <class T, class A>
void gradient_of(const SumsInput& in, int64_t begin, int64_t end, const double* grad_sums, void* gradient) {
  const int64_t maps = in.channels - in.first_class;
  A* p = static_cast<A*>(in.workspace);
  T* out = static_cast<T*>(gradient);
  for (int64_t at = begin; at < end; at += kSumsBlock) {
    const int count = end - at < kSumsBlock ? int(end - at) : kSumsBlock;
    if (in.activation != Activation::kNone) probabilities<T, A>(in, at, count, p);
    alignas(64) A mean[kSumsBlock] = {};  // sum_j g_j p_j phi_j
    if (in.activation == Activation::kSoftmax)
      for (int64_t j = 0; j < maps; ++j) {
        const A* phi = static_cast<const A*>(in.maps) + j * in.map_stride + at;
        const A* of_class = p + (in.first_class + j) * kSumsBlock;
        const A g = A(grad_sums[j]);
        for (int i = 0; i < count; ++i) mean[i] += g * of_class[i] * phi[i];
      }
    for (int64_t c = 0; c < in.channels; ++c) {
      const int64_t j = c - in.first_class;
      const A* of_class = p + c * kSumsBlock;
      const A* phi = j >= 0 ? static_cast<const A*>(in.maps) + j * in.map_stride + at : nullptr;
      const A g = j >= 0 ? A(grad_sums[j]) : A(0);
      alignas(64) A value[kSumsBlock];
      if (in.activation == Activation::kSoftmax) {
        if (phi) for (int i = 0; i < count; ++i) value[i] = of_class[i] * (g * phi[i] - mean[i]);
        else for (int i = 0; i < count; ++i) value[i] = -of_class[i] * mean[i];
      } else if (!phi) {
        for (int i = 0; i < count; ++i) value[i] = 0;
      } else if (in.activation == Activation::kSigmoid) {
        for (int i = 0; i < count; ++i) value[i] = g * phi[i] * of_class[i] * (1 - of_class[i]);
      } else {
        for (int i = 0; i < count; ++i) value[i] = g * phi[i];
      }
      if (in.known)
        for (int i = 0; i < count; ++i) value[i] = in.known[at - begin + i] ? value[i] : 0;
      T* to = out + c * in.channel_stride + at * in.voxel_stride;
      if (in.voxel_stride == 1) {
        for (int i = 0; i < count; ++i) to[i] = narrow<T>(value[i]);
      } else {
        for (int i = 0; i < count; ++i) to[i * in.voxel_stride] = narrow<T>(value[i]);
      }
    }
  }
}

template <class Visit>
FASTDIST_INLINE void with_floating(Element type, const Visit& visit) {
  switch (type) {
    case Element::kF16: return visit(Half{}, float{});
    case Element::kBF16: return visit(BFloat{}, float{});
    case Element::kF32: return visit(float{}, float{});
    default: return visit(double{}, double{});
  }
}

inline void sums(const SumsInput& in, int64_t begin, int64_t end, double* out) {
  with_floating(in.type, [&](auto element, auto sum) { sums_of<decltype(element), decltype(sum)>(in, begin, end, out); });
}
inline void gradient(const SumsInput& in, int64_t begin, int64_t end, const double* grad_sums, void* out) {
  with_floating(in.type, [&](auto element, auto sum) {
    gradient_of<decltype(element), decltype(sum)>(in, begin, end, grad_sums, out);
  });
}

}  // namespace fastdist::FASTDIST_LEVEL
