// The CUDA language and the few calls of the CUDA runtime that cuda/ uses, for the host compiler: what stands
// in for <cuda_runtime.h> when the kernel sources are compiled for the emulator. There is one device, and its
// memory is the host's. The functions have the names of the real ones but live in a namespace, so that one
// program can hold both.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cuda/emulator/emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (::clipcap::emulator::thread().thread_index)
#define blockIdx (::clipcap::emulator::thread().block_index)
#define blockDim (::clipcap::emulator::thread().block_size)
#define gridDim (::clipcap::emulator::thread().grid_size)

#define CLIPCAP_EMULATOR_PLACE \
  ::clipcap::emulator::Place { __FILE__, __LINE__ }
#define __syncthreads() ::clipcap::emulator::barrier(CLIPCAP_EMULATOR_PLACE)
#define __syncwarp()                                                                       \
  (void)::clipcap::emulator::warp_exchange(::clipcap::emulator::WarpOperation::sync, 0, 0, \
                                           CLIPCAP_EMULATOR_PLACE)
#define __shfl_sync(mask, value, lane)                                                                \
  ::clipcap::emulator::exchange_value(::clipcap::emulator::WarpOperation::shuffle, mask, value, lane, \
                                      CLIPCAP_EMULATOR_PLACE)
#define __shfl_xor_sync(mask, value, lanes)                                                                \
  ::clipcap::emulator::exchange_value(::clipcap::emulator::WarpOperation::shuffle_xor, mask, value, lanes, \
                                      CLIPCAP_EMULATOR_PLACE)
#define __shfl_down_sync(mask, value, distance)                                                      \
  ::clipcap::emulator::exchange_value(::clipcap::emulator::WarpOperation::shuffle_down, mask, value, \
                                      distance, CLIPCAP_EMULATOR_PLACE)

namespace clipcap::emulator {

/// Shuffles one value of up to 8 bytes. Only the full mask is emulated: a kernel that needs another says so
/// by failing.
template <class T>
T exchange_value(WarpOperation operation, unsigned mask, T value, int argument, Place place) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  if (mask != 0xFFFFFFFFU) operation = WarpOperation::unsupported;
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_exchange(operation, bits, argument, place);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// Fibers are switched only inside of barriers and warp operations, so plain code is atomic already.
inline unsigned atomicAdd(unsigned* address, unsigned value) {
  const unsigned old = *address;
  *address = old + value;
  return old;
}
/// Counts up to `limit`, then starts again at 0.
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  const unsigned old = *address;
  *address = old >= limit ? 0 : old + 1;
  return old;
}
inline void __threadfence() {}

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorInvalidDevice = 101 };
enum cudaMemcpyKind { cudaMemcpyDefault = 4 };
enum { cudaStreamNonBlocking = 1 };
using cudaStream_t = struct EmulatedStream*;

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMalloc(void** pointer, size_t bytes);
cudaError_t cudaFree(void* pointer);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);

/// The emulated device's memory: cudaMalloc fails beyond it. For tests of what happens then.
void set_memory_limit(size_t bytes);

}  // namespace clipcap::emulator
