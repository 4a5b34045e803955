// Sums over a warp and over a block. Both give every thread the same bits, and the same bits every time: the
// order of the additions depends on nothing but the number of threads.
#pragma once

#include "cuda/device.cuh"

// The emulator's own test compiles kernels with one of the two barriers below taken out and expects to
// be told of it.
#if !defined(CLIPCAP_PLANT_MISSING_BARRIER)
#define CLIPCAP_PLANT_MISSING_BARRIER 0
#endif

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {

/// The sum over the 32 lanes, in every lane. All 32 must call it.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kFullMask, value, distance);
  return value;
}

/// The sum over the block, in every thread. All threads must call it; the block is whole warps. `scratch` is
/// shared memory for one T a warp; it may be used again, by another block_sum too, as soon as all threads are
/// past a barrier.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_sum(value);
#if CLIPCAP_PLANT_MISSING_BARRIER != 1
  __syncthreads();  // the sums of the call before have been read
#endif
  if (threadIdx.x % kWarp == 0) scratch[warp] = value;
#if CLIPCAP_PLANT_MISSING_BARRIER != 2
  __syncthreads();  // the sums of this call have been written
#endif
  T total = scratch[0];
  for (int i = 1; i < warps; ++i) total += scratch[i];
  return total;
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
