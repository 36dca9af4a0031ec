// What the kernels take for granted and only a GPU can tell, as JSON:  nvcc -std=c++20 -fmad=false -I csrc rates.cu
//
// How many of an instruction a multiprocessor does in a clock, with full warps and eight independent chains a thread; and how many
// whole numbers from 0 to 2^24 have another root by kernels/finish.cuh than by the correctly rounded __fsqrt_rn.
#include <cstdio>

#include "cuda/kernels/arithmetic.cuh"
#include "cuda/kernels/finish.cuh"

namespace {

constexpr int kThreads = 1024, kChains = 8, kRepeats = 4096;

struct Pairs {  // VIADDMNMX.U16x2, where there is one
  static constexpr const char* name = "viaddmin_u16x2";
  static __device__ unsigned step(unsigned x, unsigned a, unsigned b) { return __viaddmin_u16x2(x, a, b); }
};
struct Signed {  // VIADDMNMX
  static constexpr const char* name = "viaddmin_s32";
  static __device__ unsigned step(unsigned x, unsigned a, unsigned b) { return unsigned(__viaddmin_s32(int(x), int(a), int(b))); }
};
struct Minimum {  // FMNMX
  static constexpr const char* name = "fminf";
  static __device__ unsigned step(unsigned x, unsigned a, unsigned) {
    return __float_as_uint(fminf(fastdist::opaque(__uint_as_float(x)), __uint_as_float(a)));
  }
};
struct Sum {  // FADD
  static constexpr const char* name = "fadd";
  static __device__ unsigned step(unsigned x, unsigned a, unsigned) {
    return __float_as_uint(__fadd_rn(__uint_as_float(x), __uint_as_float(a)));
  }
};

template <class Instruction>
__global__ void rate(unsigned a, unsigned b, long long* clocks, unsigned* out) {
  unsigned x[kChains];
  for (int k = 0; k < kChains; ++k) x[k] = threadIdx.x * kChains + unsigned(k);
  __syncthreads();
  const long long begun = clock64();
#pragma unroll 4
  for (int i = 0; i < kRepeats; ++i)
    for (int k = 0; k < kChains; ++k) x[k] = Instruction::step(x[k], a, b);
  __syncthreads();
  if (threadIdx.x == 0) clocks[blockIdx.x] = clock64() - begun;
  unsigned sum = 0;
  for (int k = 0; k < kChains; ++k) sum += x[k];
  out[blockIdx.x * kThreads + threadIdx.x] = sum;
}

__global__ void compare_roots(unsigned* wrong) {
  const unsigned n = blockIdx.x * kThreads + threadIdx.x;
  const float x = float(n);
  if (n <= 1u << 24 && fastdist::cuda::root_of<fastdist::cuda::ExactFloat>(x) != __fsqrt_rn(x)) atomicAdd(wrong, 1u);
}

bool failed = false;
void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  failed = true;
}

template <class Instruction>
void measure() {
  long long* clocks = nullptr;
  unsigned* out = nullptr;
  check(cudaMalloc(&clocks, sizeof *clocks));
  check(cudaMalloc(&out, kThreads * sizeof *out));
  long long least = 0;
  for (int i = 0; i < 5 && !failed; ++i) {  // the first one warms up
    rate<Instruction><<<1, kThreads>>>(3u, 40000u, clocks, out);
    long long took = 0;
    check(cudaMemcpy(&took, clocks, sizeof took, cudaMemcpyDeviceToHost));
    if (i == 0 || took < least) least = took;
  }
  if (!failed) std::printf("\"%s per clock\": %.2f,\n", Instruction::name, double(kThreads) * kChains * kRepeats / double(least));
  cudaFree(clocks);
  cudaFree(out);
}

}  // namespace

int main() {
  std::printf("{\n");
  measure<Pairs>();
  measure<Signed>();
  measure<Minimum>();
  measure<Sum>();
  unsigned* counted = nullptr;
  unsigned wrong = 0;
  check(cudaMalloc(&counted, sizeof *counted));
  check(cudaMemset(counted, 0, sizeof *counted));
  compare_roots<<<((1 << 24) + kThreads) / kThreads, kThreads>>>(counted);
  check(cudaMemcpy(&wrong, counted, sizeof wrong, cudaMemcpyDeviceToHost));
  if (failed) return 1;
  std::printf("\"wrong roots up to 2^24\": %u\n}\n", wrong);
  return wrong == 0 ? 0 : 1;
}
