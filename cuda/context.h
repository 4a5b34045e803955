// The device's state on the host side: which GPU, its one stream, and its memory. Included by device.cuh,
// which says what CLIPCAP_CUDA_NAMESPACE and cudaStream_t are.
//
// Each device has one stream, and all work on it is in order. That is why memory may be handed to its next
// user as soon as its last one has been launched, without waiting.
//
// Kernels run on the current device of the calling thread. An op makes its tensors' device the current one for
// the length of the call (DeviceScope in tensor/op.h); outside of ops it is the one of the last allocation, at
// first device 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/device.h"

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {

/// 0 when there is no driver or no GPU; never throws. The first call asks the driver.
[[nodiscard]] int device_count() noexcept;
/// The driver's words when device_count() is 0, else empty.
[[nodiscard]] std::string unavailable_reason();

void select_device(int device);
[[nodiscard]] int current_device();
/// Of the current device.
[[nodiscard]] cudaStream_t stream();

/// 256-byte aligned, from the cache of freed blocks if it has one of the size class. Throws Error naming the
/// bytes asked for and free when the device is full even after the cache has been given back.
[[nodiscard]] void* allocate(size_t bytes, int device);
void release(void* pointer, size_t bytes, int device) noexcept;

struct AllocatorStatistics {
  int64_t system_allocations = 0;  // calls of cudaMalloc
  int64_t bytes_in_use = 0;        // rounded to size classes
  int64_t bytes_cached = 0;
  int64_t peak_bytes = 0;
};
[[nodiscard]] AllocatorStatistics allocator_statistics(int device);
void release_cached_memory(int device);

/// In order with the device's stream; done when it returns, except fill_zero.
void copy(void* destination, Device to, const void* source, Device from, size_t bytes);
void fill_zero(void* pointer, size_t bytes, int device);
void synchronize(int device);

/// Device memory for the length of a launcher: `count` uninitialised elements on the current device.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : bytes_(static_cast<size_t>(count) * sizeof(T)),
        device_(current_device()),
        data_(static_cast<T*>(allocate(bytes_, device_))) {}
  ~Scratch() { release(data_, bytes_, device_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] T* data() const { return data_; }

 private:
  size_t bytes_;
  int device_;
  T* data_;
};

/// A counter in device memory that is 0 between launches: blocks draw tickets from it with atomicInc to find
/// out which is the last to finish; atomicInc with limit gridDim.x - 1 leaves it at 0 again.
[[nodiscard]] unsigned* ticket_counter();

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
