// The loss of any number of channels: the softmax's numbers per voxel first, then the logits again, from the cache.
//
// The voxels under way on a multiprocessor stay in its first-level cache: at 20 float channels, some 100 KB of logits.
// The second time channels are taken in reverse, since those that were read last are the likeliest to be still there.
#pragma once

#include "sums.cuh"

namespace fastdist::cuda {

// The softmax's denominator, and a weighted sum of its numerators, both relative to the largest logit so far: one sweep.
template <class A>
struct Denominator {
  A largest, total, weighted;

  // Logits of -infinity are larger than nothing, too: the first value is the lowest finite one.
  static FASTDIST_DEVICE Denominator none() {
    return {sizeof(A) == 4 ? A(-3.402823466e38f) : A(-1.7976931348623157e308), 0, 0};
  }

  FASTDIST_DEVICE void add(A z, A weight) {
    const A over = z - largest, e = exp_of(over > 0 ? -over : over);
    total = over > 0 ? total * e + 1 : total + e;
    weighted = over > 0 ? weighted * e + weight : weighted + e * weight;
    largest = over > 0 ? z : largest;
  }

  // NaN where a logit is infinite, as torch has it.
  FASTDIST_DEVICE A scale() const { return reciprocal(total + (largest - largest)); }
};

template <class A>
struct AnyShared {
  A largest[kAnyChunk], scale[kAnyChunk];
  unsigned classes[kAnyChunk];
};

// First a thread for each pack of voxels, over all channels; then a warp for each class, over all voxels of the block.
template <class T, Order order>
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, sizeof(T) < 8 ? 3 : 2) void sums_any(SumsArguments a) {
  using A = Accumulation<T>;
  constexpr int V = any_voxels(order);
  static_assert(order != Order::kInterleaved);
  FASTDIST_SHARED(shared);
  auto& block = *reinterpret_cast<AnyShared<A>*>(shared);
  const Chunk chunk = chunk_of(a);
  const int thread = int(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int64_t end = has_lengths(a, chunk.image) ? chunk.end : chunk.begin;
  const int64_t stride = order == Order::kPlanar ? 1 : a.voxel_stride;
  const T* logits = static_cast<const T*>(a.logits) + chunk.image * a.image_stride + chunk.begin * stride;
  for (int at = thread * V; at < kAnyChunk; at += kSumsThreads * V) {
    Denominator<A> of_voxel[V];
    unsigned classes[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      of_voxel[v] = Denominator<A>::none();
      classes[v] = kUnknown;
    }
    if (chunk.begin + at < end) {
      classes_of(a, chunk.image, chunk.begin + at, classes);
      if (a.activation == Activation::kSoftmax) {
#pragma unroll 4
        for (int c = 0; c < a.channels; ++c) {
          const auto z = read<V>(logits + c * a.channel_stride + at * stride);
#pragma unroll
          for (int v = 0; v < V; ++v) of_voxel[v].add(number_of(z.x[v], a.bfloat), 0);
        }
      }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
      block.largest[at + v] = of_voxel[v].largest;
      block.scale[at + v] = of_voxel[v].scale();
      block.classes[at + v] = classes[v];
    }
  }
  __syncthreads();
  for (int map = a.maps_count - 1 - warp; map >= 0; map -= kSumsWarps) {
    const int c = a.first_class + map;
    const A* maps = static_cast<const A*>(a.maps) + (chunk.image * a.maps_count + map) * a.voxels + chunk.begin;
    A sum = 0, best = 0;
#pragma unroll 4
    for (int at = lane * V; at < kAnyChunk; at += 32 * V) {
      if (chunk.begin + at >= end) break;
      const auto logit = read<V>(logits + c * a.channel_stride + at * stride);
      const auto phi = read<V>(maps + at);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const A z = number_of(logit.x[v], a.bfloat);
        const unsigned found = block.classes[at + v];
        A p = z;
        if (a.activation == Activation::kSoftmax) p = exp_of(z - block.largest[at + v]) * block.scale[at + v];
        else if (a.activation == Activation::kSigmoid) p = sigmoid_of(z).value;
        if (found != kUnknown) sum += p * phi.x[v];
        if (a.elements.labels && found == unsigned(c)) best += phi.x[v];
      }
    }
    if (!a.elements.labels) {
#pragma unroll 1
      for (int at = lane * V; chunk.begin + at < end && at < kAnyChunk; at += 32 * V) {
        const unsigned foreground = foreground_of<V>(a, chunk.image, map, chunk.begin + at);
        const auto phi = read<V>(maps + at);
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (block.classes[at + v] != kUnknown && (foreground >> v & 1)) best += phi.x[v];
      }
    }
    sum = warp_sum(sum);
    best = warp_sum(best);
    if (lane == 0) {
      *partial_of(a, chunk, map) = double(sum);
      *partial_of(a, chunk, a.maps_count + map) = double(best);
    }
  }
  if (warp == kSumsWarps - 1) {
    int count = 0;
    for (int at = lane; at < kAnyChunk; at += 32) count += block.classes[at] != kUnknown;
    count = warp_sum(count);
    if (lane == 0) *partial_of(a, chunk, 2 * a.maps_count) = double(count);
  }
}

template <class T, Order order>
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, sizeof(T) < 8 ? 3 : 2) void gradient_any(SumsArguments a) {
  using A = Accumulation<T>;
  constexpr int V = any_voxels(order);
  static_assert(order != Order::kInterleaved);
  const Chunk chunk = chunk_of(a);
  const int64_t voxel = chunk.begin + int(threadIdx.x) * V;
  if (voxel >= chunk.end) return;
  const int64_t at = chunk.image * a.image_stride + voxel * (order == Order::kPlanar ? 1 : a.voxel_stride);
  const T* logits = static_cast<const T*>(a.logits) + at;
  T* gradient = static_cast<T*>(a.gradient) + at;
  const A* maps = static_cast<const A*>(a.maps) + (chunk.image * a.maps_count - a.first_class) * a.voxels + voxel;
  const A* grad_sums = static_cast<const A*>(a.grad_sums) + chunk.image * a.maps_count - a.first_class;
  unsigned classes[V];
  classes_of(a, chunk.image, voxel, classes);
  const bool ignored = !has_lengths(a, chunk.image);
  // g phi of the channel, 0 before the first class.
  const auto weights = [&](int c, A(&weight)[V]) {
    Pack<A, V> phi{};
    A g = 0;
    if (c >= a.first_class) {
      phi = read<V>(maps + c * a.voxels);
      g = grad_sums[c];
    }
#pragma unroll
    for (int v = 0; v < V; ++v) weight[v] = g * phi.x[v];
  };
  Denominator<A> of_voxel[V];
  A scale[V], mean[V];
#pragma unroll
  for (int v = 0; v < V; ++v) of_voxel[v] = Denominator<A>::none();
  if (a.activation == Activation::kSoftmax) {
#pragma unroll 4
    for (int c = 0; c < a.channels; ++c) {
      const auto z = read<V>(logits + c * a.channel_stride);
      A weight[V];
      weights(c, weight);
#pragma unroll
      for (int v = 0; v < V; ++v) of_voxel[v].add(number_of(z.x[v], a.bfloat), weight[v]);
    }
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    scale[v] = of_voxel[v].scale();
    mean[v] = of_voxel[v].weighted * scale[v];
  }
#pragma unroll 4
  for (int c = a.channels - 1; c >= 0; --c) {
    const auto logit = read<V>(logits + c * a.channel_stride);
    A weight[V];
    weights(c, weight);
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const A z = number_of(logit.x[v], a.bfloat);
      A value = weight[v];
      if (a.activation == Activation::kSoftmax) value = exp_of(z - of_voxel[v].largest) * scale[v] * (value - mean[v]);
      else if (a.activation == Activation::kSigmoid) value *= sigmoid_of(z).slope;
      const bool depends = c >= a.first_class || a.activation == Activation::kSoftmax;
      pack.x[v] = narrow<T>(depends && classes[v] != kUnknown && !ignored ? value : A(0), a.bfloat);
    }
    write<V>(gradient + c * a.channel_stride, pack);
  }
}

}  // namespace fastdist::cuda
