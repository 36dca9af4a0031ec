// The loss: sums of probability times map, and their gradient, each in one sweep over logits and maps.
//
//   sums_j = sum_x p_j(x) phi_j(x)
//   d/dz_k = p_k (g_k phi_k - sum_j g_j p_j phi_j)      softmax, g the gradient of the sums
//          = g_k phi_k p_k (1 - p_k)                    sigmoid
//          = g_k phi_k                                  probabilities
//
// The floor is memory: with C channels of b bytes, K float maps and labels of l bytes, a voxel moves
//
//   forward  C b + 4 K + l         C = K = 4, bytes for labels: 33 in float32, 25 in half precision
//   backward 2 C b + 4 K + l                                    49             33
//
// and the kernels move just that from and to memory:
//   * up to kFewChannels channels, a thread holds all logits and maps of its voxels in registers (sums_few, gradient_few);
//   * beyond, or in float64, logits are read a second time, from the cache (sums_any, gradient_any): a block's voxels are few.
// Sums are deterministic: one partial per block, class and quantity, in double; add_partials adds these in a fixed order.
// The voxels of a block depend on the shape alone, not on the GPU.
#pragma once

#include "../../core/elements.h"
#include "../../core/half.h"
#include "../device.h"

namespace fastdist::cuda {

constexpr int kSumsThreads = 256;
constexpr int kSumsWarps = kSumsThreads / 32;
// The kernels that hold a voxel in registers have them for 1, 2, 3, 4, 5 or up to 8 channels.
constexpr int kExactChannels = 5, kFewChannels = 8;
constexpr int kAnyChunk = 512;

// How a thread's voxels lie: neighbours, of everything in aligned packs; neighbours, with all their channels between them; or
// one voxel, of any stride and alignment.
enum class Order { kPlanar, kInterleaved, kScattered };

// Voxels of a thread. Those of all channels together are some 16 logits and as many map values, in registers.
FASTDIST_ANYWHERE constexpr int few_voxels(int channels, Order order) {
  return order == Order::kScattered ? 1 : channels <= 4 ? 4 : 2;
}
FASTDIST_ANYWHERE constexpr int any_voxels(Order order) { return order == Order::kScattered ? 1 : 2; }

// The host's description of the target's elements, so that kernels need not know their types. As bits, without a sign:
// a voxel is foreground where low < (bits & mask) <= high, and a whole number is a class where bits < classes.
struct TargetElements {
  int bytes;
  bool labels, floating;
  Element type;                    // of floating labels
  uint64_t mask, low, high;        // of channels
  unsigned classes;                // of labels: at most what the type's sign allows
  unsigned ignored;                // the class that is ignored, or kUnknown
};
constexpr unsigned kUnknown = 0xffffffffu;

struct SumsArguments {
  const void* logits;
  int64_t image_stride, channel_stride, voxel_stride;  // of logits and gradient
  bool bfloat;                     // 16-bit logits are bfloat16
  Activation activation;
  const void* maps;                // [images][maps][voxels]
  const void* target;              // labels: [images][voxels], else [images][maps][voxels]
  TargetElements elements;
  const uint8_t* valid;            // [images][voxels], or null
  const double* item_spacing;      // [images][ndim], or null
  int ndim;
  int channels, first_class, maps_count;
  int64_t voxels;
  unsigned chunks;                 // of an image: one a block
  int chunk;                       // voxels to a block
  double* partials;                // [images][2 maps_count + 1][chunks]: sums, perfect, count
  const void* grad_sums;           // [images][maps]
  void* gradient;
};

struct AddArguments {
  const double* partials;
  unsigned chunks;
  int maps_count;
  void* sums;
  int64_t* counts;
  void* perfect;
};

// --- Numbers. ------------------------------------------------------------------------------------------------------------

// Logits are float, double, or 16 bits of which the arguments say whether they are bfloat16.
using Sixteen = uint16_t;

template <class T> struct AccumulationOf { using type = float; };
template <> struct AccumulationOf<double> { using type = double; };
template <class T> using Accumulation = typename AccumulationOf<T>::type;

FASTDIST_DEVICE float number_of(Sixteen x, bool bfloat) { return bfloat ? float_of(BFloat{x}) : float_of(Half{x}); }
FASTDIST_DEVICE float number_of(float x, bool) { return x; }
FASTDIST_DEVICE double number_of(double x, bool) { return x; }

template <class T, class A>
FASTDIST_DEVICE T narrow(A value, bool bfloat) {
  if constexpr (sizeof(T) == 2) return bfloat ? bfloat_of(value).bits : half_of(value).bits;
  else return value;
}

// exp for x <= 0. Two roundings before the exponent unit: a relative error of 1e-7 |x| + 2e-7, as the subtraction of the
// largest logit has anyway. Results below the smallest normal float are 0.
FASTDIST_DEVICE float exp_of(float x) {
  const float power = x * 1.44269504f;
#if defined(__CUDA_ARCH__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(power));
  return result;
#else
  return __builtin_exp2f(power);
#endif
}
FASTDIST_DEVICE double exp_of(double x) {
#if defined(__CUDA_ARCH__)
  return exp(x);
#else
  return __builtin_exp(x);
#endif
}

// Within 1 ulp, for x from 1 to the largest float.
FASTDIST_DEVICE float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1 / x;
#endif
}
FASTDIST_DEVICE double reciprocal(double x) { return 1 / x; }

// Where one is NaN, either: a voxel with a NaN has NaN probabilities whatever its largest logit is.
FASTDIST_DEVICE float larger(float a, float b) {
#if defined(__CUDA_ARCH__)
  return fmaxf(a, b);
#else
  return a > b ? a : b;
#endif
}

template <class A>
struct Sigmoid {
  A value, slope;
};
template <class A>
FASTDIST_DEVICE Sigmoid<A> sigmoid_of(A x) {
  const A e = exp_of(x < 0 ? x : -x), r = reciprocal(1 + e);
  return {(x < 0 ? e : A(1)) * r, e * r * r};  // p (1 - p) without its cancellation
}

// The sum over the lanes, the same in each of them.
template <class A>
FASTDIST_DEVICE A warp_sum(A value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// --- Which voxels, and what they are. ------------------------------------------------------------------------------------

// V neighbouring elements, aligned.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T x[V];
};
template <int V, class T>
FASTDIST_DEVICE Pack<T, V> read(const T* from) {
  return *reinterpret_cast<const Pack<T, V>*>(from);
}
template <int V, class T>
FASTDIST_DEVICE void write(T* to, const Pack<T, V>& pack) {
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

// The elements' bits.
template <int V>
FASTDIST_DEVICE void read_bits(const SumsArguments& a, int64_t offset, uint64_t (&bits)[V]) {
  const auto widen = [&](const auto& pack) {
#pragma unroll
    for (int v = 0; v < V; ++v) bits[v] = pack.x[v];
  };
  switch (a.elements.bytes) {
    case 1: return widen(read<V>(static_cast<const uint8_t*>(a.target) + offset));
    case 2: return widen(read<V>(static_cast<const uint16_t*>(a.target) + offset));
    case 4: return widen(read<V>(static_cast<const uint32_t*>(a.target) + offset));
    default: return widen(read<V>(static_cast<const uint64_t*>(a.target) + offset));
  }
}

// The class that a floating label names, or kUnknown.
FASTDIST_DEVICE unsigned class_of(uint64_t bits, Element type, unsigned classes) {
  float value = float_of_bits(uint32_t(bits));
  bool exact = true;
  if (type == Element::kF16) value = float_of(Half{uint16_t(bits)});
  if (type == Element::kBF16) value = float_of(BFloat{uint16_t(bits)});
  if (type == Element::kF64) {
    const double wide = double_of_bits(bits);
    value = float(wide);
    exact = double(value) == wide;
  }
  if (!(exact && value >= 0 && value < float(classes))) return kUnknown;
  const auto found = unsigned(value);
  return float(found) == value ? found : kUnknown;
}

// The class of each voxel, or kUnknown; of a target in channels 0 or kUnknown.
template <int V>
FASTDIST_DEVICE void classes_of(const SumsArguments& a, int64_t image, int64_t voxel, unsigned (&classes)[V]) {
  const int64_t at = image * a.voxels + voxel;
#pragma unroll
  for (int v = 0; v < V; ++v) classes[v] = 0;
  if (a.elements.labels) {
    uint64_t bits[V];
    read_bits(a, at, bits);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (a.elements.floating) classes[v] = class_of(bits[v], a.elements.type, a.elements.classes);
      else classes[v] = bits[v] < a.elements.classes ? unsigned(bits[v]) : kUnknown;
      classes[v] = classes[v] == a.elements.ignored ? kUnknown : classes[v];
    }
  }
  if (a.valid) {
    const auto valid = read<V>(a.valid + at);
#pragma unroll
    for (int v = 0; v < V; ++v) classes[v] = valid.x[v] ? classes[v] : kUnknown;
  }
}

// One bit a voxel: its foreground in one channel of the target.
template <int V>
FASTDIST_DEVICE unsigned foreground_of(const SumsArguments& a, int64_t image, int map, int64_t voxel) {
  uint64_t bits[V];
  read_bits(a, (image * a.maps_count + map) * a.voxels + voxel, bits);
  unsigned foreground = 0;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const uint64_t value = bits[v] & a.elements.mask;
    foreground |= unsigned(value > a.elements.low && value <= a.elements.high) << v;
  }
  return foreground;
}

// An image whose spacing is no length counts as ignored.
FASTDIST_DEVICE bool has_lengths(const SumsArguments& a, int64_t image) {
  if (!a.item_spacing) return true;
  bool good = true;
#pragma unroll 1
  for (int axis = 0; axis < a.ndim; ++axis) {
    const double spacing = a.item_spacing[image * a.ndim + axis];
    good = good && spacing > 0 && spacing <= 1.7976931348623157e308;
  }
  return good;
}

// What a block works on.
struct Chunk {
  int64_t image, begin, end;
  unsigned number;
};
FASTDIST_DEVICE Chunk chunk_of(const SumsArguments& a) {
  const unsigned image = blockIdx.x / a.chunks, number = blockIdx.x - image * a.chunks;
  const int64_t begin = int64_t(number) * a.chunk;
  return {int64_t(image), begin, begin + a.chunk < a.voxels ? begin + a.chunk : a.voxels, number};
}

FASTDIST_DEVICE double* partial_of(const SumsArguments& a, const Chunk& chunk, int value) {
  return a.partials + (chunk.image * (2 * a.maps_count + 1) + value) * int64_t(a.chunks) + chunk.number;
}

// --- Few channels: all logits of a thread's voxels in registers. ---------------------------------------------------------
//
// All loads are begun before the first of them is waited for: labels, which are taken apart by their type, come last, and
// only then logits are converted.

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
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, 3) void sums_few(SumsArguments a) {
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
    unsigned foreground = 0;  // bit c V + v
    if (a.elements.labels) {
#pragma unroll
      for (int v = 0; v < V; ++v) foreground |= classes[v] == kUnknown ? 0 : 1u << (classes[v] * V + v);
    } else {
#pragma unroll 1
      for (int map = 0; map < a.maps_count; ++map)
        foreground |= foreground_of<V>(a, chunk.image, map, voxel) << ((a.first_class + map) * V);
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const bool known = classes[v] != kUnknown;
      float p[C];
      if (a.activation == Activation::kSoftmax) {
        softmax_of<order>(a, z, v, p);
      } else {
#pragma unroll
        for (int c = 0; c < C; ++c) p[c] = a.activation == Activation::kSigmoid ? sigmoid_of(z[c][v]).value : z[c][v];
      }
#pragma unroll
      for (int c = 0; c < C; ++c) {
        if (known) sums[c] += p[c] * phi[c][v];
        if (known && (foreground >> (c * V + v) & 1)) perfect[c] += phi[c][v];
      }
      count += known;
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

// --- Any number of channels: the softmax's two numbers per voxel first, then the logits again, from the cache. -----------

// The softmax's denominator, and a weighted sum of its numerators, both relative to the largest logit so far: one sweep.
template <class A>
struct Denominator {
  A largest, total, weighted;

  // Logits of -infinity are larger than nothing, too: the first value is the lowest finite one.
  static FASTDIST_DEVICE Denominator none() { return {sizeof(A) == 4 ? A(-3.402823466e38f) : A(-1.7976931348623157e308), 0, 0}; }

  FASTDIST_DEVICE void add(A z, A weight) {
    const A over = z - largest, e = exp_of(over > 0 ? -over : over);
    total = over > 0 ? total * e + 1 : total + e;
    weighted = over > 0 ? weighted * e + weight : weighted + e * weight;
    largest = over > 0 ? z : largest;
  }
  FASTDIST_DEVICE A scale() const { return reciprocal(total + (largest - largest)); }  // a logit of infinity: NaN, as in torch
};

template <class A>
struct AnyShared {
  A largest[kAnyChunk], scale[kAnyChunk];
  unsigned classes[kAnyChunk];
};

// First a thread for each pack of voxels, over all channels; then a warp for each class, over all voxels of the block.
template <class T, Order order>
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, 3) void sums_any(SumsArguments a) {
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
  // The last channels were read last: they come first, as long as they are in the cache.
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
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, 3) void gradient_any(SumsArguments a) {
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
  for (int c = a.channels - 1; c >= 0; --c) {  // the last ones are still in the cache
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
      const bool takes_part = classes[v] != kUnknown && !ignored && (c >= a.first_class || a.activation == Activation::kSoftmax);
      pack.x[v] = narrow<T>(takes_part ? value : A(0), a.bfloat);
    }
    write<V>(gradient + c * a.channel_stride, pack);
  }
}

// --- The second stage: a block for each image and quantity. --------------------------------------------------------------

template <class A>
FASTDIST_KERNEL FASTDIST_BOUNDS(kSumsThreads, 1) void add_partials(AddArguments a) {
  FASTDIST_SHARED(shared);
  double* of_warps = reinterpret_cast<double*>(shared);
  const int thread = int(threadIdx.x), threads = int(blockDim.x);
  const unsigned values = 2 * unsigned(a.maps_count) + 1, image = blockIdx.x / values;
  const int value = int(blockIdx.x - image * values);
  const double* partials = a.partials + int64_t(blockIdx.x) * a.chunks;
  double total = 0;
#pragma unroll 4
  for (unsigned i = unsigned(thread); i < a.chunks; i += unsigned(threads)) total += partials[i];
  total = warp_sum(total);
  if (thread % 32 == 0) of_warps[thread / 32] = total;
  __syncthreads();
  if (thread > 0) return;
  for (int w = 1; w < threads / 32; ++w) total += of_warps[w];
  const int64_t at = int64_t(image) * a.maps_count + (value < a.maps_count ? value : value - a.maps_count);
  if (value < a.maps_count) static_cast<A*>(a.sums)[at] = A(total);
  else if (value < 2 * a.maps_count) static_cast<A*>(a.perfect)[at] = A(total);
  else a.counts[image] = int64_t(total);
}

}  // namespace fastdist::cuda
