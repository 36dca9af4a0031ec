// csrc/cuda/launch.cu with a CUDA runtime that records and judges its calls, for machines without a GPU:
//
//   recorded_runtime threads       two threads launch one kernel, with columns of two lengths
//   recorded_runtime devices       one thread, two devices whose blocks can have different amounts of shared memory
//   recorded_runtime error NUMBER  a launch fails with this cudaError_t
//
// Two kernels, told by their addresses. Blocks can have 227 KB on device 0, 99 KB on device 1; `second` has 1 KB of static memory.
#include "cuda/launch.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace {

char first, second;
std::mutex mutex;
std::map<std::pair<int, const void*>, int> most;  // dynamic shared memory that launches of a function may have
thread_local int device = 0;
cudaError_t answer = cudaSuccess;  // of every launch

int optin(int of) { return (of == 0 ? 227 : 99) * 1024; }
int static_bytes(const void* kernel) { return kernel == &second ? 1024 : 0; }
const char* name(const void* kernel) { return kernel == &first ? "first" : "second"; }

}  // namespace

extern "C" {

cudaError_t cudaSetDevice(int index) { return device = index, cudaSuccess; }
cudaError_t cudaGetDevice(int* index) { return *index = device, cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) { return *available = *total = 0, cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) { return error == cudaErrorInvalidValue ? "invalid argument" : "the runtime's words"; }
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "a stand-in");
  properties->major = 11;
  properties->minor = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int index) {
  *value = which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? optin(index) : 1;
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  std::memset(static_cast<void*>(attributes), 0, sizeof *attributes);
  attributes->sharedSizeBytes = size_t(static_bytes(kernel));
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute which, int value) {
  if (which != cudaFuncAttributeMaxDynamicSharedMemorySize || value > optin(device) - static_bytes(kernel))
    return cudaErrorInvalidValue;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    most[{device, kernel}] = value;
    std::printf("device %d, %s: %d\n", device, name(kernel), value);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the other thread comes in between
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* kernel, dim3, dim3, void**, size_t shared, cudaStream_t) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto allowed = most.find({device, kernel});
  const size_t may_have = allowed == most.end() ? 48 * 1024 : size_t(allowed->second);
  return shared > may_have ? cudaErrorInvalidValue : answer;
}

}  // extern "C"

namespace {

void launch(const void* kernel, int64_t shared) {
  fastdist::launch_kernel("columns", kernel, fastdist::Grid{1, 32, shared}, nullptr, nullptr);
}

// Says what went wrong, and how often something did.
int launches(int times, const void* kernel, int64_t shared) {
  int failed = 0;
  for (int i = 0; i < times; ++i) try {
      launch(kernel, shared);
    } catch (const std::runtime_error& error) {
      if (failed++ == 0) std::printf("%s\n", error.what());
    }
  return failed;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "threads") {
    int failed[2] = {};
    std::thread other([&] { failed[1] = launches(30, &first, 320 * 160); });
    failed[0] = launches(30, &first, 500 * 160);
    other.join();
    return failed[0] + failed[1] == 0 ? 0 : 1;
  }
  if (what == "devices") {
    int failed = 0;
    for (const int index : {0, 1, 0, 1})
      for (const void* kernel : {&first, &second}) {
        fastdist::use_device(index);
        failed += launches(2, kernel, 16 * 1024);  // every kernel may have that
        failed += launches(2, kernel, 90 * 1024);
      }
    return failed == 0 ? 0 : 1;
  }
  if (what == "error" && count == 3) {
    answer = cudaError_t(std::atoi(arguments[2]));
    launches(1, &first, 0);
    return 0;
  }
  return 2;
}
