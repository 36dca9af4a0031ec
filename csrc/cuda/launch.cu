// Launches on a GPU; the emulator has its own (csrc/emulator/launch.cpp).
#include "launch.h"

#if !defined(FASTDIST_EMULATOR)

#include <stdexcept>
#include <string>

namespace fastdist {

namespace {

[[noreturn]] void fail(const char* what, cudaError_t error) {
  std::string text = std::string("fastdist: ") + what + ": " + cudaGetErrorString(error);
  cudaGetLastError();  // so that the next call does not report this one's
  int device = 0;
  cudaDeviceProp properties{};
  const bool known = cudaGetDevice(&device) == cudaSuccess && cudaGetDeviceProperties(&properties, device) == cudaSuccess;
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction ||
      error == cudaErrorUnsupportedPtxVersion) {
    const std::string number = known ? std::to_string(properties.major) + "." + std::to_string(properties.minor) : "?";
    text += ". The library was compiled for " FASTDIST_CUDA_ARCHITECTURES ", this GPU (";
    text += known ? properties.name : "unknown";
    text += ") is " + number + ": install it again with TORCH_CUDA_ARCH_LIST=" + number;
  } else if (error == cudaErrorInsufficientDriver) {
    text += ". The library was compiled with CUDA " + std::to_string(CUDART_VERSION / 1000) +
            ", which needs a newer NVIDIA driver" + (CUDART_VERSION >= 13000 ? " (580 or later)" : "") +
            ": update the driver, or install the library again with an older CUDA toolkit (CUDA_HOME)";
  }
  cudaGetLastError();
  throw std::runtime_error(text);
}

void check(const char* what, cudaError_t error) {
  if (error != cudaSuccess) fail(what, error);
}

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check("cudaDeviceGetAttribute", cudaDeviceGetAttribute(&value, which, device));
  return value;
}

}  // namespace

void use_device(int device) { check("cudaSetDevice", cudaSetDevice(device)); }

Device current_device() {
  int device = 0;
  check("cudaGetDevice", cudaGetDevice(&device));
  return {attribute(cudaDevAttrMultiProcessorCount, device), attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device)};
}

void clear(void* memory, int64_t bytes, Stream stream) {
  check("cudaMemsetAsync", cudaMemsetAsync(memory, 0, size_t(bytes), stream));
}

void launch_kernel(const char* name, const void* kernel, const Grid& grid, Stream stream, void** arguments) {
  if (grid.blocks == 0) return;
  if (grid.blocks > 2147483647) throw std::runtime_error(std::string("fastdist: ") + name + ": too many voxels for one launch");
  if (grid.shared_bytes > 48 * 1024)  // more has to be asked for
    check(name, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(grid.shared_bytes)));
  check(name, cudaLaunchKernel(kernel, dim3(unsigned(grid.blocks)), dim3(unsigned(grid.threads)), arguments,
                               size_t(grid.shared_bytes), stream));
}

}  // namespace fastdist

#endif
