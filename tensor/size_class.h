// The sizes in which the caching allocators keep memory: on the host (tensor/storage.cpp) and on a GPU
// (cuda/context.cu) the same.
#pragma once

#include <bit>
#include <cstddef>

namespace clipcap {

inline constexpr size_t kAllocationAlignment = 256;

/// `bytes` (at least 1) rounded up: eight classes to a power of two, so that at most 12.5 % of a block is
/// lost, and sizes that vary a little from step to step (batches of different length) still meet in one.
[[nodiscard]] constexpr size_t size_class(size_t bytes) {
  if (bytes <= 2048) return (bytes + kAllocationAlignment - 1) / kAllocationAlignment * kAllocationAlignment;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

}  // namespace clipcap
