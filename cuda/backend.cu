// The real side of tensor/backend.h, instead of tensor/no_cuda.cpp.
#include "tensor/backend.h"

#include "cuda/device.cuh"
#include "cuda/register.h"

namespace clipcap {

int cuda_device_count() {
  static const int count = [] {
    const int found = cuda::device_count();
    if (found > 0) cuda::register_cuda_ops();
    return found;
  }();
  return count;
}

std::string cuda_unavailable_reason() { return cuda::unavailable_reason(); }

void* cuda_allocate(size_t bytes, int device) {
  // The first count also fills the op slots.
  CHECK(cuda_device_count() > 0, "no CUDA device: ", cuda_unavailable_reason());
  return cuda::allocate(bytes, device);
}

void cuda_free(void* pointer, size_t bytes, int device) { cuda::release(pointer, bytes, device); }

void cuda_copy(void* destination, Device to, const void* source, Device from, size_t bytes) {
  cuda::copy(destination, to, source, from, bytes);
}

void cuda_fill_zero(void* pointer, size_t bytes, int device) { cuda::fill_zero(pointer, bytes, device); }
void cuda_synchronize(int device) { cuda::synchronize(device); }

int cuda_enter_device(int device) {
  CHECK(cuda_device_count() > 0, "no CUDA device: ", cuda_unavailable_reason());
  const int before = cuda::current_device();
  cuda::select_device(device);
  return before;
}

void cuda_leave_device(int before) {
  try {
    cuda::select_device(before);
  } catch (const Error&) {  // called from destructors; the next call on that device will say what is wrong
  }
}

}  // namespace clipcap
