// Owned bytes on one device. Freed memory goes back to a cache of the same size class, so that a training
// step after the first asks the system for nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensor/device.h"

namespace clipcap {

class Storage {
 public:
  /// 256-byte aligned, uninitialised.
  Storage(size_t bytes, Device device);
  /// Memory that somebody else owns (a mapped file), to be read only; `keep_alive` is held as long as this storage.
  Storage(const void* data, size_t bytes, std::shared_ptr<const void> keep_alive);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] Device device() const { return device_; }
  /// Borrowed memory: a write to it may be a SIGSEGV, so whatever writes asks first (Tensor::check_writable).
  [[nodiscard]] bool read_only() const { return keep_alive_ != nullptr; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  std::shared_ptr<const void> keep_alive_;
};

/// What the host allocator has done since the program began.
struct MemoryStatistics {
  int64_t system_allocations = 0;  // times that the system was asked for memory
  int64_t bytes_in_use = 0;        // held by live storages, rounded to size classes
  int64_t bytes_cached = 0;        // free, kept for reuse
  int64_t peak_bytes = 0;          // most bytes_in_use so far
};
[[nodiscard]] MemoryStatistics host_memory_statistics();
/// Gives the cached host memory back to the system. The allocator does so itself before it reports that no
/// memory is left.
void release_cached_host_memory();

/// Where the host allocator gets its memory. For tests: set it only while the cache is empty and no storage
/// from the other one is alive; {} sets the C library's back.
struct HostSystem {
  void* (*allocate)(size_t alignment, size_t bytes) = nullptr;  // null when there is none left
  void (*free)(void* block) = nullptr;
};
void set_host_system(const HostSystem& system);

}  // namespace clipcap
