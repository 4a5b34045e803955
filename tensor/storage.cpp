#include "tensor/storage.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "tensor/backend.h"
#include "tensor/check.h"
#include "tensor/size_class.h"

namespace clipcap {
namespace {

constexpr HostSystem kSystem{
    [](size_t alignment, size_t bytes) { return std::aligned_alloc(alignment, bytes); },
    [](void* block) { std::free(block); }};

class HostAllocator {
 public:
  static HostAllocator& instance() {
    static auto* allocator = new HostAllocator;  // outlives every static tensor
    return *allocator;
  }

  void* allocate(size_t bytes) {
    const size_t rounded = size_class(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& blocks = free_[rounded];
    void* block = nullptr;
    if (!blocks.empty()) {
      block = blocks.back();
      blocks.pop_back();
      statistics_.bytes_cached -= static_cast<int64_t>(rounded);
    } else {
      block = system_.allocate(kAllocationAlignment, rounded);
      if (block == nullptr) {  // blocks of other classes may be what is missing
        empty_cache_locked();
        block = system_.allocate(kAllocationAlignment, rounded);
      }
      CHECK(block != nullptr, "out of memory: ", bytes, " bytes asked, ", statistics_.bytes_in_use,
            " in use");
      ++statistics_.system_allocations;
    }
    statistics_.bytes_in_use += static_cast<int64_t>(rounded);
    statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.bytes_in_use);
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
    empty_cache_locked();
  }

  void set_system(const HostSystem& system) {
    const std::lock_guard<std::mutex> lock(mutex_);
    system_ = system.allocate != nullptr ? system : kSystem;
  }

  MemoryStatistics statistics() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return statistics_;
  }

 private:
  void empty_cache_locked() {
    for (auto& [bytes, blocks] : free_) {
      for (void* block : blocks) system_.free(block);
      blocks.clear();
    }
    statistics_.bytes_cached = 0;
  }

  std::mutex mutex_;
  HostSystem system_ = kSystem;
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

Storage::Storage(const void* data, size_t bytes, std::shared_ptr<const void> keep_alive)
    : data_(static_cast<std::byte*>(const_cast<void*>(data))),  // NOLINT: read_only() says so
      bytes_(bytes),
      keep_alive_(std::move(keep_alive)) {
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
void set_host_system(const HostSystem& system) { HostAllocator::instance().set_system(system); }

}  // namespace clipcap
