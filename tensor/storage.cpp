#include "tensor/storage.h"

#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "tensor/backend.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr size_t kAlignment = 256;

// Eight classes to a power of two: at most 12.5 % of a block is lost, and sizes that vary a little from step
// to step (batches of different length) still meet in one class.
size_t size_class(size_t bytes) {
  if (bytes <= 2048) return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

class HostAllocator {
 public:
  static HostAllocator& instance() {
    static auto* allocator = new HostAllocator;  // outlives every static tensor
    return *allocator;
  }

  void* allocate(size_t bytes) {
    const size_t rounded = size_class(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    statistics_.bytes_in_use += static_cast<int64_t>(rounded);
    statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.bytes_in_use);
    auto& blocks = free_[rounded];
    if (!blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      statistics_.bytes_cached -= static_cast<int64_t>(rounded);
      return block;
    }
    void* block = std::aligned_alloc(kAlignment, rounded);
    if (block == nullptr) {
      statistics_.bytes_in_use -= static_cast<int64_t>(rounded);
      fail("out of memory: ", bytes, " bytes asked, ", statistics_.bytes_in_use, " in use");
    }
    ++statistics_.system_allocations;
    return block;
  }

  void release(void* block, size_t bytes) {
    const size_t rounded = size_class(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    free_[rounded].push_back(block);
    statistics_.bytes_in_use -= static_cast<int64_t>(rounded);
    statistics_.bytes_cached += static_cast<int64_t>(rounded);
  }

  void empty_cache() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [bytes, blocks] : free_) {
      for (void* block : blocks) std::free(block);
      blocks.clear();
    }
    statistics_.bytes_cached = 0;
  }

  MemoryStatistics statistics() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return statistics_;
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  MemoryStatistics statistics_;
};

}  // namespace

Storage::Storage(size_t bytes, Device device) : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  void* memory =
      device.is_cpu() ? HostAllocator::instance().allocate(bytes) : cuda_allocate(bytes, device.index);
  data_ = static_cast<std::byte*>(memory);
}

Storage::Storage(void* data, size_t bytes, std::shared_ptr<const void> keep_alive)
    : data_(static_cast<std::byte*>(data)), bytes_(bytes), keep_alive_(std::move(keep_alive)) {
  CHECK(keep_alive_ != nullptr, "Storage: borrowed memory needs an owner");
}

Storage::~Storage() {
  if (keep_alive_ || data_ == nullptr) return;
  if (device_.is_cpu()) {
    HostAllocator::instance().release(data_, bytes_);
  } else {
    cuda_free(data_, bytes_, device_.index);
  }
}

MemoryStatistics host_memory_statistics() { return HostAllocator::instance().statistics(); }
void release_cached_host_memory() { HostAllocator::instance().empty_cache(); }

}  // namespace clipcap
