// The loss of up to kFewChannels channels: all logits and maps of a thread's voxels in registers, each read once.
//
// All loads are begun before the first of them is waited for: labels, which are taken apart by their type, come last, and
// only then logits are converted.
#pragma once

#include "sums.cuh"

namespace fastdist::cuda {

// Which channels of the C that have registers there are: all, but in the few kernels that serve several numbers of them.
template <int C, Order order>
FASTDIST_DEVICE bool is_channel(const SumsArguments& a, int c) {
  return (order != Order::kScattered && C <= kExactChannels) || c < a.channels;
}

// A thread's logits as they lie in memory.
template <Order order, class T, int C, int V>
FASTDIST_DEVICE void read_logits(const SumsArguments& a, int64_t image, int64_t voxel, Pack<T, V> (&packs)[C]) {
  const T* from = static_cast<const T*>(a.logits) + image * a.image_stride;
  from += voxel * (order == Order::kPlanar ? 1 : order == Order::kInterleaved ? C : a.voxel_stride);
#pragma unroll
  for (int c = 0; c < C; ++c)
    if (is_channel<C, order>(a, c)) packs[c] = read<V>(from + c * (order == Order::kInterleaved ? V : a.channel_stride));
}

template <Order order, class T, int C, int V>
FASTDIST_DEVICE void numbers_of(const SumsArguments& a, const Pack<T, V> (&packs)[C], float (&z)[C][V]) {
#pragma unroll
  for (int c = 0; c < C; ++c)
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int i = order == Order::kInterleaved ? v * C + c : c * V + v;
      z[c][v] = number_of(packs[i / V].x[i % V], a.bfloat);
    }
}

template <Order order, class T, int C, int V>
FASTDIST_DEVICE void write_gradient(const SumsArguments& a, int64_t image, int64_t voxel, const float (&z)[C][V]) {
  T* to = static_cast<T*>(a.gradient) + image * a.image_stride;
  to += voxel * (order == Order::kPlanar ? 1 : order == Order::kInterleaved ? C : a.voxel_stride);
  Pack<T, V> packs[C];
#pragma unroll
  for (int c = 0; c < C; ++c)
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int i = order == Order::kInterleaved ? v * C + c : c * V + v;
      packs[i / V].x[i % V] = narrow<T>(z[c][v], a.bfloat);
    }
#pragma unroll
  for (int c = 0; c < C; ++c)
    if (is_channel<C, order>(a, c)) write<V>(to + c * (order == Order::kInterleaved ? V : a.channel_stride), packs[c]);
}

// phi of every channel; 0 before the first class.
template <Order order, int C, int V>
FASTDIST_DEVICE void read_maps(const SumsArguments& a, int64_t image, int64_t voxel, float (&phi)[C][V]) {
  const float* from = static_cast<const float*>(a.maps) + (image * a.maps_count - a.first_class) * a.voxels + voxel;
#pragma unroll
  for (int c = 0; c < C; ++c) {
    Pack<float, V> pack{};
    if (c >= a.first_class && is_channel<C, order>(a, c)) pack = read<V>(from + c * a.voxels);
#pragma unroll
    for (int v = 0; v < V; ++v) phi[c][v] = pack.x[v];
  }
}

template <Order order, int C, int V>
FASTDIST_DEVICE void softmax_of(const SumsArguments& a, const float (&z)[C][V], int v, float (&p)[C]) {
  float largest = z[0][v], total = 0;
#pragma unroll
  for (int c = 1; c < C; ++c)
    if (is_channel<C, order>(a, c)) largest = larger(largest, z[c][v]);
#pragma unroll
  for (int c = 0; c < C; ++c) {
    p[c] = 0;
    if (is_channel<C, order>(a, c)) total += p[c] = exp_of(z[c][v] - largest);
  }
  const float scale = reciprocal(total);
#pragma unroll
  for (int c = 0; c < C; ++c) p[c] *= scale;
}

struct FewShared {
  float of_warps[kSumsWarps][2 * kFewChannels + 1];
};

template <class T, int C, Order order>
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, C <= kExactChannels ? 3 : 2) void sums_few(SumsArguments a) {
  constexpr int V = few_voxels(C, order);
  FASTDIST_SHARED(shared);
  auto& of_warps = reinterpret_cast<FewShared*>(shared)->of_warps;
  const Chunk chunk = chunk_of(a);
  const int thread = int(threadIdx.x), warp = thread / 32;
  const int64_t end = has_lengths(a, chunk.image) ? chunk.end : chunk.begin;
  float sums[C], perfect[C];
#pragma unroll
  for (int c = 0; c < C; ++c) sums[c] = perfect[c] = 0;
  int count = 0;
#pragma unroll 1
  for (int64_t voxel = chunk.begin + thread * V; voxel < end; voxel += kSumsThreads * V) {
    Pack<T, V> packs[C]{};
    float z[C][V], phi[C][V];
    unsigned classes[V];
    read_logits<order>(a, chunk.image, voxel, packs);
    read_maps<order>(a, chunk.image, voxel, phi);
    classes_of(a, chunk.image, voxel, classes);
    numbers_of<order>(a, packs, z);
    unsigned known = 0, foreground = 0;  // bit v; bit c V + v, of known voxels
#pragma unroll
    for (int v = 0; v < V; ++v) known |= unsigned(classes[v] != kUnknown) << v;
    count += __popc(known);
    if (a.elements.labels) {
#pragma unroll
      for (int v = 0; v < V; ++v) foreground |= classes[v] == kUnknown ? 0 : 1u << (classes[v] * V + v);
    } else {
#pragma unroll 1
      for (int map = 0; map < a.maps_count; ++map)
        foreground |= (foreground_of<V>(a, chunk.image, map, voxel) & known) << ((a.first_class + map) * V);
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
      float p[C];
      if (a.activation == Activation::kSoftmax) {
        softmax_of<order>(a, z, v, p);
      } else {
#pragma unroll
        for (int c = 0; c < C; ++c) p[c] = a.activation == Activation::kSigmoid ? sigmoid_of(z[c][v]).value : z[c][v];
      }
#pragma unroll
      for (int c = 0; c < C; ++c) {
        if (known & 1u << v) sums[c] += p[c] * phi[c][v];
        if (foreground & 1u << (c * V + v)) perfect[c] += phi[c][v];
      }
    }
  }
#pragma unroll
  for (int c = 0; c < C; ++c) {
    sums[c] = warp_sum(sums[c]);
    perfect[c] = warp_sum(perfect[c]);
  }
  count = warp_sum(count);
  if (thread % 32 == 0) {
    float* of_warp = of_warps[warp];
#pragma unroll
    for (int c = 0; c < C; ++c) {
      of_warp[c] = sums[c];
      of_warp[C + c] = perfect[c];
    }
    of_warp[2 * C] = float(count);  // exact: a warp has fewer than 2^24 voxels
  }
  __syncthreads();
  if (thread > 2 * a.maps_count) return;
  const int from = thread == 2 * a.maps_count ? 2 * C
                   : thread < a.maps_count    ? a.first_class + thread
                                              : C + a.first_class + thread - a.maps_count;
  double total = 0;
#pragma unroll
  for (int w = 0; w < kSumsWarps; ++w) total += double(of_warps[w][from]);
  *partial_of(a, chunk, thread) = total;
}

template <class T, int C, Order order>
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, 3) void gradient_few(SumsArguments a) {
  constexpr int V = few_voxels(C, order);
  const Chunk chunk = chunk_of(a);
  const int64_t voxel = chunk.begin + int(threadIdx.x) * V;
  if (voxel >= chunk.end) return;
  Pack<T, V> packs[C]{};
  float z[C][V], phi[C][V], g[C];
  unsigned classes[V];
  read_logits<order>(a, chunk.image, voxel, packs);
  read_maps<order>(a, chunk.image, voxel, phi);
  const float* grad_sums = static_cast<const float*>(a.grad_sums) + chunk.image * a.maps_count - a.first_class;
#pragma unroll
  for (int c = 0; c < C; ++c) g[c] = c >= a.first_class && is_channel<C, order>(a, c) ? grad_sums[c] : 0.0f;
  classes_of(a, chunk.image, voxel, classes);
  numbers_of<order>(a, packs, z);
  const bool ignored = !has_lengths(a, chunk.image);
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const bool known = classes[v] != kUnknown && !ignored;
    float p[C], mean = 0;
    if (a.activation == Activation::kSoftmax) {
      softmax_of<order>(a, z, v, p);
#pragma unroll
      for (int c = 0; c < C; ++c) mean += g[c] * p[c] * phi[c][v];
    } else {
#pragma unroll
      for (int c = 0; c < C; ++c) {
        p[c] = a.activation == Activation::kSigmoid ? sigmoid_of(z[c][v]).slope : 1.0f;
        p[c] = c >= a.first_class ? p[c] : 0.0f;  // NaN before the first class takes no part
      }
    }
#pragma unroll
    for (int c = 0; c < C; ++c) z[c][v] = known ? p[c] * (g[c] * phi[c][v] - mean) : 0.0f;
  }
  write_gradient<order, T>(a, chunk.image, voxel, z);
}

}  // namespace fastdist::cuda
