#include "cuda/device.cuh"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor/size_class.h"

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {
namespace {

constexpr int kMaxDevices = 64;

struct DeviceState {
  std::mutex mutex;
  cudaStream_t stream = nullptr;
  bool stream_made = false;
  unsigned* tickets = nullptr;
  std::map<size_t, std::vector<void*>> free_blocks;  // by size class
  AllocatorStatistics statistics;
};

// Never destroyed: static tensors may be freed after it would be, and the driver reclaims everything at exit.
DeviceState& state_of(int device) {
  static auto* states = new std::array<DeviceState, kMaxDevices>;
  CHECK(device >= 0 && device < device_count() && device < kMaxDevices, "cuda: no device ", device,
        "; there are ", device_count());
  return (*states)[static_cast<size_t>(device)];
}

struct Probe {
  int count = 0;
  std::string reason;
};

const Probe& probe() {
  static const Probe result = [] {
    Probe found;
    const cudaError_t error = cudaGetDeviceCount(&found.count);
    if (error != cudaSuccess) {
      found.count = 0;
      found.reason = cudaGetErrorString(error);
      static_cast<void>(cudaGetLastError());  // or the next launch check would report it
    } else if (found.count == 0) {
      found.reason = "the driver finds no GPU";
    }
    return found;
  }();
  return result;
}

thread_local int selected_device = 0;
thread_local bool device_is_set = false;

void free_cached(DeviceState& state) noexcept {
  for (auto& [bytes, blocks] : state.free_blocks) {
    for (void* block : blocks) static_cast<void>(cudaFree(block));
    blocks.clear();
  }
  state.statistics.bytes_cached = 0;
}

cudaStream_t stream_of(int device) {
  select_device(device);
  DeviceState& state = state_of(device);
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (!state.stream_made) {
    CUDA_CHECK(cudaStreamCreateWithFlags(&state.stream, cudaStreamNonBlocking));
    state.stream_made = true;
  }
  return state.stream;
}

}  // namespace

int device_count() noexcept { return probe().count; }
std::string unavailable_reason() { return probe().reason; }

void select_device(int device) {
  if (device_is_set && device == selected_device) return;
  static_cast<void>(state_of(device));  // checks the number
  CUDA_CHECK(cudaSetDevice(device));
  selected_device = device;
  device_is_set = true;
}

int current_device() { return selected_device; }
cudaStream_t stream() { return stream_of(selected_device); }

void* allocate(size_t bytes, int device) {
  select_device(device);
  DeviceState& state = state_of(device);
  const size_t rounded = size_class(bytes);
  const auto signed_bytes = static_cast<int64_t>(rounded);
  const std::lock_guard<std::mutex> lock(state.mutex);
  void* block = nullptr;
  auto& blocks = state.free_blocks[rounded];
  if (!blocks.empty()) {
    block = blocks.back();
    blocks.pop_back();
    state.statistics.bytes_cached -= signed_bytes;
  } else {
    cudaError_t error = cudaMalloc(&block, rounded);
    if (error == cudaErrorMemoryAllocation) {
      // cudaFree waits for the device, so no running kernel loses memory.
      static_cast<void>(cudaGetLastError());
      free_cached(state);
      error = cudaMalloc(&block, rounded);
    }
    if (error != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      size_t free_bytes = 0;
      size_t total_bytes = 0;
      static_cast<void>(cudaMemGetInfo(&free_bytes, &total_bytes));
      fail("cuda:", device, ": ", cudaGetErrorString(error), ": ", bytes, " bytes asked, ", free_bytes,
           " of ", total_bytes, " free, ", state.statistics.bytes_in_use, " in use by this program");
    }
    ++state.statistics.system_allocations;
  }
  state.statistics.bytes_in_use += signed_bytes;
  state.statistics.peak_bytes = std::max(state.statistics.peak_bytes, state.statistics.bytes_in_use);
#if !defined(__CUDACC__)
  // A block used again holds NaN, not luck.
  static_cast<void>(cudaMemsetAsync(block, 0xFF, rounded, nullptr));
#endif
  return block;
}

void release(void* pointer, size_t bytes, int device) noexcept {
  if (pointer == nullptr) return;
  DeviceState& state = state_of(device);
  const size_t rounded = size_class(bytes);
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.free_blocks[rounded].push_back(pointer);
  state.statistics.bytes_in_use -= static_cast<int64_t>(rounded);
  state.statistics.bytes_cached += static_cast<int64_t>(rounded);
}

AllocatorStatistics allocator_statistics(int device) {
  DeviceState& state = state_of(device);
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.statistics;
}

void release_cached_memory(int device) {
  select_device(device);
  DeviceState& state = state_of(device);
  const std::lock_guard<std::mutex> lock(state.mutex);
  free_cached(state);
}

void copy(void* destination, Device to, const void* source, Device from, size_t bytes) {
  if (bytes == 0) return;
  const int device = to.is_cpu() ? from.index : to.index;
  // The source's own stream may still be writing what another device is about to read.
  if (!from.is_cpu() && from.index != device) synchronize(from.index);
  const cudaStream_t device_stream = stream_of(device);
  CUDA_CHECK(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, device_stream));
  CUDA_CHECK(cudaStreamSynchronize(device_stream));
}

void fill_zero(void* pointer, size_t bytes, int device) {
  if (bytes == 0) return;
  CUDA_CHECK(cudaMemsetAsync(pointer, 0, bytes, stream_of(device)));
}

void synchronize(int device) { CUDA_CHECK(cudaStreamSynchronize(stream_of(device))); }

unsigned* ticket_counter() {
  const int device = selected_device;
  const cudaStream_t device_stream = stream_of(device);
  DeviceState& state = state_of(device);
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.tickets == nullptr) {
    void* memory = nullptr;
    CUDA_CHECK(cudaMalloc(&memory, kAllocationAlignment));
    CUDA_CHECK(cudaMemsetAsync(memory, 0, kAllocationAlignment, device_stream));
    state.tickets = static_cast<unsigned*>(memory);
  }
  return state.tickets;
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
