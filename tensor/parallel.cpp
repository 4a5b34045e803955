#include "tensor/parallel.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>

#include "tensor/check.h"
#include "tensor/thread_pool.h"

namespace clipcap {

namespace {

// Handed to every region; tensor/kernels/onednn.cpp hands it to oneDNN.
std::atomic<int>& wanted_threads() {
  static std::atomic<int> threads{detail::default_thread_count()};
  return threads;
}

}  // namespace

int thread_count() { return wanted_threads(); }

void set_thread_count(int threads) {
  CHECK(threads >= 1, "set_thread_count: ", threads, " threads; expected at least 1");
  wanted_threads() = threads;
}

int usable_threads() { return detail::in_region() ? 1 : thread_count(); }

namespace detail {

void parallel_ranges(int64_t count, int64_t grain, void* context, RangeBody body) {
  const int64_t most = grain > 0 ? (count + grain - 1) / grain : count;
  const auto threads = static_cast<int>(std::min<int64_t>(most, usable_threads()));
  if (threads <= 1) {
    body(context, 0, count);
    return;
  }
  struct Work {
    int64_t count;
    void* context;
    RangeBody body;
    std::mutex mutex{};
    std::exception_ptr first_error{};
  } work{count, context, body};
  run_region(threads, &work, [](void* shared, int index, int team) {
    auto& own = *static_cast<Work*>(shared);
    const int64_t begin = own.count * index / team;
    const int64_t end = own.count * (index + 1) / team;
    try {
      if (begin < end) own.body(own.context, begin, end);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(own.mutex);
      if (!own.first_error) own.first_error = std::current_exception();
    }
  });
  if (work.first_error) std::rethrow_exception(work.first_error);
}

}  // namespace detail

void* thread_scratch(size_t bytes, int slot) {
  struct Free {
    void operator()(void* pointer) const { std::free(pointer); }  // NOLINT: pairs with aligned_alloc
  };
  struct Buffer {
    std::unique_ptr<void, Free> data;
    size_t bytes = 0;
  };
  thread_local std::array<Buffer, 8> buffers;
  Buffer& buffer = buffers.at(static_cast<size_t>(slot));
  if (buffer.bytes < bytes) {
    const size_t rounded = (bytes + 4095) / 4096 * 4096;
    buffer.data.reset();
    buffer.data.reset(std::aligned_alloc(64, rounded));
    if (!buffer.data) throw std::bad_alloc();
    buffer.bytes = rounded;
  }
  return buffer.data.get();
}

}  // namespace clipcap
