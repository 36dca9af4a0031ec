// Launches on a GPU; the emulator has its own (csrc/emulator/launch.cpp).
#include "launch.h"

#if !defined(FASTDIST_EMULATOR)

#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

namespace fastdist {

namespace {

// The driver finds no code in the library that this GPU runs, or cannot translate what it finds.
bool is_of_code(cudaError_t error) {
  switch (error) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorInvalidKernelImage:
    case cudaErrorInvalidPtx:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled: return true;
    default: return false;
  }
}

// What a kernel does while it runs: the first call after that is told, whoever makes it, and every later one.
bool is_of_a_running_kernel(cudaError_t error) {
  switch (int(error)) {
    case 226:  // cudaErrorContained and cudaErrorTensorMemoryLeak: named by newer toolkits only
    case 721:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
  }
}

[[noreturn]] void fail(const char* what, cudaError_t error) {
  std::string text = std::string("fastdist: ") + what + ": " + cudaGetErrorString(error);
  cudaGetLastError();  // so that the next call does not report this one's
  int device = 0;
  cudaDeviceProp properties{};
  if (is_of_code(error)) {
    const bool known = cudaGetDevice(&device) == cudaSuccess && cudaGetDeviceProperties(&properties, device) == cudaSuccess;
    const std::string number = known ? std::to_string(properties.major) + "." + std::to_string(properties.minor) : "?";
    text += ". The library was compiled for " FASTDIST_CUDA_ARCHITECTURES ", this GPU (";
    text += known ? properties.name : "unknown";
    text += ") is " + number + ": ";
    if (error == cudaErrorJitCompilationDisabled) text += "unset CUDA_DISABLE_PTX_JIT, or ";
    text += "install it again with TORCH_CUDA_ARCH_LIST=" + number;
  } else if (is_of_a_running_kernel(error)) {
    text += ", possibly from an earlier kernel, fastdist's or not: CUDA_LAUNCH_BLOCKING=1 stops at the one that caused it. "
            "This process can use the GPU no more";
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

// Lets a kernel have all shared memory that a block of the current device can have. That is a property of the function, common to
// all threads that launch it, so that a launch must not set it to what it needs itself: another thread's may need more. It is
// set once, before the first launch that needs more than every kernel may have.
void allow_all_shared_memory(const char* name, const void* kernel) {
  static std::mutex mutex;  // held while it is set, too: who comes second must find it done
  static std::set<std::pair<int, const void*>> done;
  int device = 0;
  check("cudaGetDevice", cudaGetDevice(&device));
  const std::lock_guard<std::mutex> lock(mutex);
  if (done.count({device, kernel}) != 0) return;
  cudaFuncAttributes attributes{};
  check(name, cudaFuncGetAttributes(&attributes, kernel));
  const int most = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device) - int(attributes.sharedSizeBytes);
  check(name, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  done.insert({device, kernel});
}

}  // namespace

void use_device(int device) { check("cudaSetDevice", cudaSetDevice(device)); }

Device current_device() {
  int device = 0;
  check("cudaGetDevice", cudaGetDevice(&device));
  return {attribute(cudaDevAttrMultiProcessorCount, device), attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device)};
}

void check_device() {
  size_t available = 0, total = 0;
  check("cudaMemGetInfo", cudaMemGetInfo(&available, &total));
}

void clear(void* memory, int64_t bytes, Stream stream) {
  check("cudaMemsetAsync", cudaMemsetAsync(memory, 0, size_t(bytes), stream));
}

void launch_kernel(const char* name, const void* kernel, const Grid& grid, Stream stream, void** arguments) {
  if (grid.blocks == 0) return;
  if (grid.blocks > 2147483647) throw std::runtime_error(std::string("fastdist: ") + name + ": too many voxels for one launch");
  if (grid.shared_bytes > 48 * 1024) allow_all_shared_memory(name, kernel);
  check(name, cudaLaunchKernel(kernel, dim3(unsigned(grid.blocks)), dim3(unsigned(grid.threads)), arguments,
                               size_t(grid.shared_bytes), stream));
}

}  // namespace fastdist

#endif
