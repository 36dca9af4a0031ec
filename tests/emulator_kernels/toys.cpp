// The toy kernels' launches, for toys.py through ctypes, and (main) for a process that a sanitizer may end.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/divisor.h"
#include "cuda/kernels/finish.cuh"
#include "cuda/launch.h"
#include "cuda/stand_in.h"
#include "faulty.h"
#include "right.h"

#define TOYS_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using fastdist::Grid;
using fastdist::Stream;
using Faulty = void (*)(int* out, int n);

#define TOY(name) {#name, toys::name}
constexpr struct {
  const char* name;
  Faulty kernel;
} kFaulty[] = {
    TOY(missing_barrier), TOY(missing_warp_barrier), TOY(missing_second_barrier), TOY(race_between_blocks),
    TOY(uninitialised_shared), TOY(forgets_an_element), TOY(divergent_barrier), TOY(different_barriers),
    TOY(barrier_in_two_places), TOY(lane_outside_of_its_mask), TOY(lane_has_returned), TOY(lane_at_the_barrier),
    TOY(different_masks), TOY(different_collectives), TOY(different_widths_of_value), TOY(width_no_power_of_two),
    TOY(shuffle_from_outside_of_the_mask), TOY(shared_overrun), TOY(shared_underrun), TOY(shared_overread),
    TOY(global_overrun), TOY(shift_overflow), TOY(signed_overflow), TOY(misaligned_vector), TOY(null_pointer),
    TOY(stack_overrun)};
#undef TOY

template <class Function>
const char* error_of(Function function) {
  static std::string text;
  try {
    function();
    return nullptr;
  } catch (const std::runtime_error& error) {
    text = error.what();
    return text.c_str();
  }
}

}  // namespace

// Each returns null, or the error's text.

TOYS_EXPORT const char* toys_faulty(const char* name, int64_t blocks, int threads, int64_t shared_bytes, int* out) {
  return error_of([&] {
    for (const auto& toy : kFaulty) {
      if (std::strcmp(toy.name, name) != 0) continue;
      const auto n = int(blocks * threads);
      return fastdist::launch(name, toy.kernel, Grid{blocks, threads, shared_bytes}, Stream{}, out, n);
    }
    throw std::runtime_error("no such toy");
  });
}

// How many whole numbers n, from .. to, whole_root() misrounds for any reciprocal root that rsqrt.approx may give: within 2^-22.9.
TOYS_EXPORT int64_t toys_misrounded(int64_t from, int64_t to, int64_t* first) {
  int64_t found = 0;
  for (int64_t n = from; n <= to; ++n) {
    const auto x = float(n);
    const double exact = 1 / std::sqrt(double(x)), most = exact * std::exp2(-22.9);
    bool right = true;
    for (const float end : {0.0f, 2.0f})
      for (float r = float(exact); std::fabs(double(r) - exact) <= most; r = std::nextafterf(r, end))
        right = right && fastdist::cuda::whole_root(x, r) == std::sqrt(x);
    if (!right && found++ == 0) *first = n;
  }
  return found;
}

TOYS_EXPORT int64_t toys_quotient(int64_t n, int64_t number) {
  return fastdist::quotient(uint32_t(n), fastdist::divisor_of(number));
}

TOYS_EXPORT const char* toys_sum(int blocks, int threads, const int* values, int64_t* sums) {
  return error_of([&] {
    fastdist::launch("sum", toys::sum, Grid{blocks, threads, threads / 32 * 8}, Stream{}, values, sums);
  });
}

TOYS_EXPORT const char* toys_scan(int blocks, int threads, const int* values, int* prefixes) {
  return error_of([&] {
    fastdist::launch("scan", toys::scan, Grid{blocks, threads, threads * 4}, Stream{}, values, prefixes);
  });
}

TOYS_EXPORT const char* toys_transpose_bits(int blocks, int threads, const unsigned* rows, unsigned* by_ballots,
                                            unsigned* by_shuffles) {
  return error_of([&] {
    fastdist::launch("transpose_bits", toys::transpose_bits, Grid{blocks, threads}, Stream{}, rows, by_ballots,
                     by_shuffles);
  });
}

TOYS_EXPORT const char* toys_histogram(int blocks, int threads, const int* values, int64_t n, int bins, int* counts,
                                       int* bounds) {
  return error_of([&] {
    fastdist::launch("histogram", toys::histogram, Grid{blocks, threads, bins * 4}, Stream{}, values, n, bins, counts,
                     bounds);
  });
}

TOYS_EXPORT const char* toys_words(int threads, const int* values, int64_t* results, int columns) {
  return error_of([&] { fastdist::launch("words", toys::words, Grid{1, threads}, Stream{}, values, results, columns); });
}

TOYS_EXPORT const char* toys_poison(void* memory, int64_t bytes) {
  return error_of([&] { fastdist::poison(memory, bytes); });
}

TOYS_EXPORT void toys_device(int64_t* multiprocessors_and_shared_bytes) {
  const fastdist::Device device = fastdist::current_device();
  multiprocessors_and_shared_bytes[0] = device.multiprocessors;
  multiprocessors_and_shared_bytes[1] = device.shared_bytes;
}

// The kernel of the name given, with 3 blocks of 64 threads; "right": those that are. Prints "fine" or the error.
int main(int count, char** arguments) {
  if (count != 2) return 2;
  constexpr int kBlocks = 3, kThreads = 64, kElements = kBlocks * kThreads;
  std::vector<int> values(kElements, 1), out(kElements);
  const char* error = nullptr;
  if (std::strcmp(arguments[1], "right") == 0) {
    std::vector<int64_t> sums(kBlocks), results(kElements * 64);
    std::vector<unsigned> rows(kElements, 5u), first(kElements), second(kElements);
    std::vector<int> counts(2), bounds(2);
    error = toys_sum(kBlocks, kThreads, values.data(), sums.data());
    if (error == nullptr) error = toys_scan(kBlocks, kThreads, values.data(), out.data());
    if (error == nullptr) error = toys_transpose_bits(kBlocks, kThreads, rows.data(), first.data(), second.data());
    if (error == nullptr)
      error = toys_histogram(kBlocks, kThreads, values.data(), kElements, 2, counts.data(), bounds.data());
    if (error == nullptr) error = toys_words(kThreads, values.data(), results.data(), 64);
    const bool fine = sums[2] == kThreads && out[kElements - 1] == kThreads && first == second && counts[1] == kElements;
    if (error == nullptr && !fine) error = "wrong";
  } else {
    error = toys_faulty(arguments[1], kBlocks, kThreads, kThreads * 4, out.data());
  }
  std::puts(error == nullptr ? "fine" : error);
  return error != nullptr;
}
