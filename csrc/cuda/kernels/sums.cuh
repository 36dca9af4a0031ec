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
//   * up to kFewChannels channels, a thread holds all logits and maps of its voxels in registers (sums_few.cuh);
//   * beyond, or in float64, logits are read a second time, from the cache (sums_any.cuh): a block's voxels are few.
// Sums are deterministic: one partial per block, class and quantity, in double; add_partials adds these in a fixed order.
// The voxels of a block depend on the shape alone, not on the GPU. Here stands what both kinds share, and the second stage.
#pragma once

#include "../../core/elements.h"
#include "../../core/half.h"
#include "../device.h"

namespace fastdist::cuda {

constexpr int kSumsThreads = 256;
constexpr int kSumsWarps = kSumsThreads / 32;
// The kernels that hold a voxel in registers have them for 1, 2, 3, 4, 5 or up to 8 channels.
constexpr int kExactChannels = 5, kFewChannels = 8;
constexpr int kAnyChunk = 512;  // voxels to a block of the others

// How a thread's voxels lie: neighbours, of everything in aligned packs; neighbours, each with its logits side by side; or
// one voxel, of any stride and alignment.
enum class Order { kPlanar, kInterleaved, kScattered };

// Voxels of a thread. With few channels, those of all together are some 16 logits and as many map values, in registers.
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

// exp for x <= 0. The product is rounded before its power is taken: a relative error of 6e-8 |x| + 2e-7, where the
// subtraction that made x has as much. Results below the smallest normal float are 0.
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
