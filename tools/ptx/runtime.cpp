// The calls of the CUDA runtime that csrc/cuda and nvcc's own code make, for objects that nvcc compiled to PTX.
//
// A fault of a kernel becomes the error of its launch, with its text in cudaGetErrorString.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "launch.h"

namespace ptx {
namespace {

// One object's kernels, and its PTX by architecture.
struct Image {
  std::map<int, std::string> texts;
  std::string error;  // why it could not be read
  std::map<int, Module*> modules;  // that have been asked for
};

struct Function {
  Image* image;
  std::string name;
  int64_t dynamic_shared = 48 * 1024;  // at most, until more is asked for
};

std::vector<std::unique_ptr<Image>>& images() {
  static std::vector<std::unique_ptr<Image>> all;
  return all;
}
std::map<const void*, Function>& functions() {
  static std::map<const void*, Function> all;
  return all;
}
std::vector<std::unique_ptr<Module>>& modules() {
  static std::vector<std::unique_ptr<Module>> all;
  return all;
}

int opened = 0;  // for which architecture
std::recursive_mutex opening;

thread_local std::string last_text;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t failed(cudaError_t error, const std::string& text) {
  last_text = text;
  return last_error = error;
}

template <class T>
cudaError_t answered(T* where, T value) {
  *where = value;
  return cudaSuccess;
}

// The fat binary of an object: a header, and parts with headers of their own; those of kind 1 are PTX.
void read_image(const char* data, Image& image) {
  const auto number = [](const char* at, auto zero) {
    std::memcpy(&zero, at, sizeof zero);
    return uint64_t(zero);
  };
  if (number(data, uint32_t(0)) != 0xBA55ED50u) throw Error("an object's fat binary does not begin as one");
  const char* at = data + number(data + 6, uint16_t(0));
  const char* const end = at + number(data + 8, uint64_t(0));
  while (at + 16 <= end) {
    const uint64_t header = number(at + 4, uint32_t(0)), bytes = number(at + 8, uint64_t(0));
    if (header < 16 || header > uint64_t(end - at) || bytes > uint64_t(end - at) - header)
      throw Error("an object's fat binary is cut off");
    if (number(at, uint16_t(0)) == 1) {
      const char* text = at + header;
      const std::string found(text, strnlen(text, bytes));
      const size_t target = found.find(".target sm_");
      if (found.find(".version") == std::string::npos || target == std::string::npos)
        throw Error("an object's PTX is compressed: nvcc --compress-mode=none");
      image.texts[std::atoi(found.c_str() + target + 11)] = found;
    }
    at += header + bytes;
  }
}

int64_t shared_of_block() {
  static const std::map<int, int64_t> kilobytes{{75, 64}, {80, 163}, {86, 99}, {87, 163}, {89, 99}, {120, 99}, {121, 99}};
  const auto found = kilobytes.find(settings().target);
  return environment("FASTDIST_PTX_SHARED_BYTES", (found == kilobytes.end() ? 227 : found->second) * 1024);
}

std::string too_little(const std::string& kernel, int64_t wanted) {
  return "kernel " + kernel + ": a block has " + std::to_string(shared_of_block()) + " bytes of shared memory, not " +
         std::to_string(wanted);
}

std::string architectures(const Image& image) {
  std::string names;
  for (const auto& [target, text] : image.texts) names += (names.empty() ? "sm_" : ", sm_") + std::to_string(target);
  return names.empty() ? "none" : names;
}

cudaError_t run_function(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared) {
  try {
    open_library(settings().target);
    const auto found = functions().find(function);
    if (found == functions().end()) return failed(cudaErrorInvalidDeviceFunction, "a kernel that nobody has registered");
    Kernel& kernel = kernel_of(*found->second.image->modules.at(opened), found->second.name);
    if (const int64_t wanted = int64_t(shared) + kernel.static_shared; wanted > shared_of_block())
      return failed(cudaErrorInvalidValue, too_little(kernel.readable, wanted));
    if (int64_t(shared) > found->second.dynamic_shared)
      return failed(cudaErrorInvalidValue, "kernel " + kernel.readable + ": " + std::to_string(shared) +
                                               " bytes of shared memory, more than was asked for with cudaFuncSetAttribute");
    launch(kernel, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, arguments, uint32_t(shared));
    return cudaSuccess;
  } catch (const std::exception& error) {
    return failed(cudaErrorUnknown, error.what());
  }
}

}  // namespace

void open_library(int target) {
  const std::lock_guard<std::recursive_mutex> hold(opening);
  if (opened == target) return;
  for (const auto& image : images()) {
    if (!image->error.empty()) throw Error(image->error);
    if (image->modules.count(target)) continue;
    const auto text = image->texts.find(target);
    if (text == image->texts.end())
      throw Error("the library has no PTX for sm_" + std::to_string(target) + ", only for " + architectures(*image));
    image->modules[target] = &load(text->second);
  }
  opened = settings().target = target;
}

Module& load(const std::string& text) {
  const std::lock_guard<std::recursive_mutex> hold(opening);
  auto module = read_module(text);
  for (const auto& [name, entry] : module->entries) kernel_of(*module, name);
  modules().push_back(std::move(module));
  return *modules().back();
}

std::vector<Kernel*> all_kernels() {
  std::vector<Kernel*> all;
  for (const auto& module : modules())
    for (const auto& [name, kernel] : module->kernels) all.push_back(kernel.get());
  return all;
}

}  // namespace ptx

// ---- What nvcc's objects call as they are loaded, and for <<< >>> --------------------------------------------------------

using ptx::answered;
using ptx::failed;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  struct Wrapper {
    int magic, version;
    const char* data;
    void* file;
  };
  auto image = std::make_unique<ptx::Image>();
  try {
    ptx::read_image(static_cast<const Wrapper*>(wrapper)->data, *image);
  } catch (const std::exception& error) {
    image->error = error.what();  // told when the library is opened
  }
  ptx::images().push_back(std::move(image));
  return reinterpret_cast<void**>(ptx::images().back().get());
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** image, const char* host, char*, const char* name, int, void*, void*, void*, void*, int*) {
  ptx::functions()[host] = {reinterpret_cast<ptx::Image*>(image), name};
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
char __cudaInitModule(void**) { return 1; }
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  return answered(kernel, static_cast<cudaKernel_t>(const_cast<void*>(function)));
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t) {
  return ptx::run_function(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared);
}
unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, void*) { return 1; }
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, size_t*, void*) { return failed(cudaErrorNotSupported, "no <<< >>> here"); }

// ---- What csrc/cuda calls ------------------------------------------------------------------------------------------------

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t) {
  return ptx::run_function(function, grid, block, arguments, shared);
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  const auto found = ptx::functions().find(function);
  if (found == ptx::functions().end()) return failed(cudaErrorInvalidDeviceFunction, "a kernel that nobody has registered");
  if (value > ptx::shared_of_block()) return failed(cudaErrorInvalidValue, ptx::too_little(found->second.name, value));
  // All that a block has stays all where another architecture is executed.
  found->second.dynamic_shared = value == ptx::shared_of_block() ? INT64_MAX : value;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  const auto found = ptx::functions().find(function);
  if (found == ptx::functions().end()) return failed(cudaErrorInvalidDeviceFunction, "a kernel that nobody has registered");
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->maxDynamicSharedSizeBytes = int(std::min(found->second.dynamic_shared, ptx::shared_of_block()));
  attributes->ptxVersion = attributes->binaryVersion = ptx::settings().target;
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
  const char* begin = static_cast<const char*>(memory);
  for (const ptx::Range& range : ptx::registered_ranges())
    if (range.writable && begin >= range.begin && begin + bytes <= range.begin + range.bytes) {
      std::memset(memory, value, bytes);
      return cudaSuccess;
    }
  return failed(cudaErrorIllegalAddress, "cudaMemsetAsync beyond memory that may be written");
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice, "there is one device"); }
cudaError_t cudaGetDevice(int* device) { return answered(device, 0); }
cudaError_t cudaGetDeviceCount(int* count) { return answered(count, 1); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "an executor of PTX");
  properties->major = ptx::settings().target / 10;
  properties->minor = ptx::settings().target % 10;
  properties->sharedMemPerBlockOptin = size_t(ptx::shared_of_block());
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: return answered(value, int(ptx::environment("FASTDIST_PTX_MULTIPROCESSORS", 4)));
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return answered(value, int(ptx::shared_of_block()));
    case cudaDevAttrComputeCapabilityMajor: return answered(value, ptx::settings().target / 10);
    case cudaDevAttrComputeCapabilityMinor: return answered(value, ptx::settings().target % 10);
    default: return answered(value, 0);
  }
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* s) { return answered(s, cudaStreamCaptureStatusNone); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) { return *available = *total = size_t(1) << 34, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return answered(version, CUDART_VERSION); }
cudaError_t cudaRuntimeGetVersion(int* version) { return answered(version, CUDART_VERSION); }
cudaError_t cudaPeekAtLastError() { return ptx::last_error; }
cudaError_t cudaGetLastError() { return std::exchange(ptx::last_error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : ptx::last_text.c_str(); }
const char* cudaGetErrorName(cudaError_t error) { return error == cudaSuccess ? "cudaSuccess" : "cudaError"; }

}  // extern "C"
