// The ops on the CPU, and what the library says of itself.
#include "cpu/weighted_sums.h"
#include "op_bodies.h"

namespace fastdist {
namespace {

class Cpu {
 public:
  explicit Cpu(const Tensor& on) : like_(on) {}

  Tensor empty(const std::vector<int64_t>& sizes, ScalarType type) const {
    return fastdist::empty(sizes, type, like_);
  }

  // The pages of an output are asked for in one go.
  void mark_written(Tensor& out) const {
    prefer_huge_pages(out.mutable_data_ptr(), out.numel() * int64_t(out.element_size()));
  }

  void edt(const Batch& mask, const Spacing& spacing, EdtOptions options, Element type, void* distances, void* indices,
           bool wide) const {
    fastdist::edt(mask, spacing, options, type, distances, indices, wide, threads());
  }
  void edt_labels(const Batch& labels, const Spacing& spacing, EdtOptions options, Element type, void* distances) const {
    fastdist::edt_labels(labels, spacing, options, type, distances, threads());
  }
  void signed_maps(const Target& target, const Spacing& spacing, const SignedOptions& options, const char* spacing_name,
                   bool float64, void* maps) const {
    fastdist::signed_maps(target, spacing, options, spacing_name, float64, maps, threads());
  }
  void weighted_sums(const Logits& logits, const void* maps, const Target& target, const Spacing&, void* sums,
                     int64_t* counts, void* perfect) const {
    fastdist::weighted_sums(logits, maps, target, sums, counts, perfect, threads());
  }
  void weighted_sums_backward(const void* grad_sums, const Logits& logits, const void* maps, const Target& target,
                              void* gradient) const {
    fastdist::weighted_sums_backward(grad_sums, logits, maps, target, gradient, threads());
  }

 private:
  static Threads threads() { return {int(torch::stable::get_num_threads())}; }
  Tensor like_;
};

#ifndef FASTDIST_VERSION  // the build defines these
#define FASTDIST_VERSION "unknown"
#define FASTDIST_TORCH_HEADERS "unknown"
#endif
#ifndef FASTDIST_CUDA_ARCHITECTURES
#define FASTDIST_CUDA_ARCHITECTURES "none"
#endif
#if defined(FASTDIST_NO_X86_LEVELS) || !defined(__x86_64__)
#define FASTDIST_CPU_LEVELS "baseline"
#else
#define FASTDIST_CPU_LEVELS "baseline v3 v4"
#endif

std::string build_info() {
  return std::string("{\"version\": \"" FASTDIST_VERSION "\", \"cpu_levels\": \"" FASTDIST_CPU_LEVELS "\", \"cpu_level\": \"") +
         kernels().name + "\", \"torch\": \"stable ABI of 2.10, headers of " FASTDIST_TORCH_HEADERS
         "\", \"cuda_architectures\": \"" FASTDIST_CUDA_ARCHITECTURES "\", \"compiler\": \"" __VERSION__ "\"}";
}

}  // namespace
}  // namespace fastdist

STABLE_TORCH_LIBRARY_IMPL(fastdist, CPU, m) { FASTDIST_REGISTER_OPS(m, fastdist::Cpu); }

STABLE_TORCH_LIBRARY_IMPL(fastdist, CompositeExplicitAutograd, m) { m.impl("build_info", TORCH_BOX(&fastdist::build_info)); }
