// The only door between tensor/ and cuda/: memory, copies and synchronisation of the device. Without CUDA,
// tensor/no_cuda.cpp stands behind it and says so.
#pragma once

#include <cstddef>
#include <string>

#include "tensor/device.h"

namespace clipcap {

/// Number of usable GPUs; 0 when built without CUDA or when the driver finds none. Never throws.
[[nodiscard]] int cuda_device_count();
/// Why there is no GPU ("built without CUDA", or the driver's words); empty when there is one.
[[nodiscard]] std::string cuda_unavailable_reason();

/// Device memory of the caching allocator. 256-byte aligned. Throws Error naming the bytes asked and free.
[[nodiscard]] void* cuda_allocate(size_t bytes, int device);
void cuda_free(void* pointer, size_t bytes, int device);
/// Copies between host and device or within a device, in order with the device's stream; returns when done.
void cuda_copy(void* destination, Device to, const void* source, Device from, size_t bytes);
void cuda_fill_zero(void* pointer, size_t bytes, int device);
void cuda_synchronize(int device);
/// Makes `device` the calling thread's current one and returns the one that was; leave gives it back.
[[nodiscard]] int cuda_enter_device(int device);
void cuda_leave_device(int before);

}  // namespace clipcap
