// Errors of the CUDA runtime become exceptions. Included by device.cuh.
#pragma once

#include <cstdlib>
#include <string_view>

#include "tensor/check.h"

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {

#if !defined(__CUDACC__)
using emulator::cudaError_t;
using emulator::cudaFree;
using emulator::cudaGetDeviceCount;
using emulator::cudaGetErrorString;
using emulator::cudaGetLastError;
using emulator::cudaMalloc;
using emulator::cudaMemcpyAsync;
using emulator::cudaMemGetInfo;
using emulator::cudaMemsetAsync;
using emulator::cudaSetDevice;
using emulator::cudaStream_t;
using emulator::cudaStreamCreateWithFlags;
using emulator::cudaStreamSynchronize;
using enum emulator::cudaError_t;
using emulator::__threadfence;
using emulator::atomicAdd;
using emulator::atomicInc;
using emulator::cudaMemcpyDefault;
using emulator::cudaStreamNonBlocking;
using dim3 = emulator::Dim3;
#endif

/// CLIPCAP_SYNC=1 in the environment: wait after every launch, so that an error names the kernel that
/// failed and not a later one.
[[nodiscard]] inline bool synchronous_launches() {
  static const bool on = [] {
    const char* value = std::getenv("CLIPCAP_SYNC");
    return value != nullptr && std::string_view(value) != "0" && std::string_view(value) != "";
  }();
  return on;
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE

/// CUDA_CHECK(cudaFree(p)): throws Error with the call and the runtime's words.
#define CUDA_CHECK(call)                                                              \
  do {                                                                                \
    const cudaError_t clipcap_cuda_error = (call);                                    \
    if (clipcap_cuda_error != cudaSuccess) {                                          \
      ::clipcap::fail("cuda: ", #call, ": ", cudaGetErrorString(clipcap_cuda_error)); \
    }                                                                                 \
  } while (false)

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {

inline void check_launch(const char* kernel, cudaStream_t stream) {
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess && synchronous_launches()) error = cudaStreamSynchronize(stream);
  CHECK(error == cudaSuccess, "cuda: kernel ", kernel, ": ", cudaGetErrorString(error));
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
