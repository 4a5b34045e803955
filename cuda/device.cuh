// What a kernel is written with, and the only file that knows whether nvcc or the host compiler reads it:
// under nvcc the CUDA language, on the host the emulator (cuda/emulator/). Everything in cuda/ lives in
// CLIPCAP_CUDA_NAMESPACE, `cuda` on the device and `cuda_emulated` on the host, so that one program can hold
// both builds of a kernel.
//
// Rules that keep a kernel runnable under both: shared memory is dynamic (shared_memory<T>()), shuffles use
// the full mask, blocks have at most 1024 threads in whole warps, inline PTX is wrapped in this file only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#if !defined(CLIPCAP_CUDA_NAMESPACE)
#define CLIPCAP_CUDA_NAMESPACE cuda
#endif
#else
#include "cuda/emulator/runtime.h"
#if !defined(CLIPCAP_CUDA_NAMESPACE)
#define CLIPCAP_CUDA_NAMESPACE cuda_emulated
#endif
#endif

#include "cuda/check.cuh"
#include "cuda/context.h"
#include "tensor/check.h"

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {

inline constexpr int kWarp = 32;
inline constexpr unsigned kFullMask = 0xFFFFFFFFU;
inline constexpr size_t kSharedBytesLimit = 48 * 1024;  // what every GPU gives without opting in to more

[[nodiscard]] constexpr __host__ __device__ int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The block's dynamic shared memory; its size is LaunchShape::shared_bytes. Uninitialised: NaN in the
/// emulator, anything on a GPU.
template <class T>
__device__ __forceinline__ T* shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char clipcap_shared_memory[];
  return reinterpret_cast<T*>(clipcap_shared_memory);
#else
  return reinterpret_cast<T*>(emulator::thread().shared);
#endif
}

// ---- numbers: kernels compute in float whatever they store

__device__ __forceinline__ float to_float(float value) { return value; }
template <class T>
__device__ __forceinline__ T from_float(float value) {
  return static_cast<T>(value);
}

/// N neighbours in one memory access; the address must be a multiple of the size.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};
template <int N, class T>
__device__ __forceinline__ void load_vector(float (&values)[N], const T* from) {
  const Vector<T, N> packed = *reinterpret_cast<const Vector<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = to_float(packed.values[i]);
}
template <int N, class T>
__device__ __forceinline__ void store_vector(T* to, const float (&values)[N]) {
  Vector<T, N> packed;
#pragma unroll
  for (int i = 0; i < N; ++i) packed.values[i] = from_float<T>(values[i]);
  *reinterpret_cast<Vector<T, N>*>(to) = packed;
}

/// Whether rows of `dim` elements can be read N at a time from all of these pointers (null: not read).
template <int N, class T, class... Pointers>
[[nodiscard]] bool rows_are_aligned(int64_t dim, const T* first, const Pointers*... rest) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % (sizeof(T) * N) == 0; };
  return dim % N == 0 && aligned(first) && (aligned(rest) && ...);
}

// ---- launching

struct LaunchShape {
  int64_t blocks = 1;
  int threads = kWarp;
  size_t shared_bytes = 0;
};

/// Runs kernel(arguments...) on the current device's stream. `name` is for messages. Throws Error on a shape
/// that no GPU takes and when the launch fails.
template <class... Parameters>
void launch(const char* name, const LaunchShape& shape, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  CHECK(shape.blocks > 0 && shape.blocks <= 0x7FFFFFFF, name, ": ", shape.blocks, " blocks");
  CHECK(shape.shared_bytes <= kSharedBytesLimit, name, ": ", shape.shared_bytes, " bytes of shared memory");
  const dim3 grid(static_cast<unsigned>(shape.blocks));
  const dim3 block(static_cast<unsigned>(shape.threads));
#if defined(__CUDACC__)
  kernel<<<grid, block, shape.shared_bytes, stream()>>>(arguments...);
#else
  emulator::launch(name, grid, block, shape.shared_bytes, [&] { kernel(arguments...); });
#endif
  check_launch(name, stream());
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
