// Threads on the CPU: a loop over rows split into contiguous blocks, one per thread. The split depends only
// on the count, the grain and the thread count, so a kernel whose blocks are independent is deterministic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>

namespace clipcap {

/// Threads used by parallel_for and by the GEMM library, whichever thread calls them: one number for the
/// whole program. Default: OMP_NUM_THREADS, or the cores that are available (cores.h).
[[nodiscard]] int thread_count();
void set_thread_count(int threads);

/// Threads that a parallel_for called here would have: thread_count(), or 1 inside a parallel region. Not for
/// cutting up sums: pieces made from thread_count() are the same inside and outside, and so are their bits.
[[nodiscard]] int usable_threads();

namespace detail {
using RangeBody = void (*)(void* context, int64_t begin, int64_t end);
void parallel_ranges(int64_t count, int64_t grain, void* context, RangeBody body);
}  // namespace detail

/// Runs body(begin, end) over a partition of [0, count). Work below `grain` items a thread is not split
/// further; nested calls run serially. `body` may throw: the first exception is rethrown on the caller's
/// thread, after every piece has run.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  auto* pointer = &body;
  detail::parallel_ranges(count, grain, static_cast<void*>(&pointer),
                          [](void* context, int64_t begin, int64_t end) {
                            (**static_cast<decltype(pointer)*>(context))(begin, end);
                          });
}

/// Per-thread scratch memory, 64-byte aligned, valid until this thread's next call with the same slot; grows
/// and is kept. Slots 0..7 let one kernel hold several buffers.
[[nodiscard]] void* thread_scratch(size_t bytes, int slot = 0);

}  // namespace clipcap
