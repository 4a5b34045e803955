// What every file that calls oneDNN needs: its engine, a stream for the calling thread, scratch memory,
// epilogues, and a small cache of compiled primitives. Private to tensor/kernels/*.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>
#include <vector>

#include "tensor/kernels/activation.h"

namespace clipcap::onednn {

using dnnl::memory;
using Tag = memory::format_tag;

[[nodiscard]] const dnnl::engine& engine();
/// The calling thread's own; execute() on it and wait().
[[nodiscard]] dnnl::stream& stream();

/// Makes the library use as many threads as parallel_for would here, and returns that number. To be called
/// before every call into the library: it reads OpenMP's number, which is the calling thread's own.
int share_threads();

[[nodiscard]] inline memory::desc floats(const memory::dims& dims, Tag tag) {
  return {dims, memory::data_type::f32, tag};
}
/// A handle on memory that the library only reads.
[[nodiscard]] memory read_only(const memory::desc& description, const float* data);
/// This thread's scratch memory (slot 7 of thread_scratch), which is what lets one primitive run on several
/// threads at once.
[[nodiscard]] memory scratchpad(const memory::desc& description);
/// `epilogue` run on the result, the scratch memory brought by the caller.
[[nodiscard]] dnnl::primitive_attr attributes(const dnnl::post_ops& epilogue);
void append_activation(dnnl::post_ops& epilogue, Activation activation);

/// The primitives compiled for the keys used last; a look-up is a walk over at most kEntries keys.
template <class Key, class Value, size_t kEntries>
class PrimitiveCache {
 public:
  /// The value of `key`, made by make() when it is not there; the entry used longest ago makes room. Safe to
  /// call from several threads: make() runs under the lock.
  template <class Make>
  std::shared_ptr<const Value> get(const Key& key, Make&& make) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.first == key; });
    if (found != entries_.end()) {
      std::rotate(found, found + 1, entries_.end());  // the one used last stands last
      return entries_.back().second;
    }
    std::shared_ptr<const Value> fresh = std::make_shared<const Value>(make());
    if (entries_.size() == kEntries) entries_.erase(entries_.begin());
    entries_.emplace_back(key, fresh);
    return fresh;
  }

 private:
  using Entry = std::pair<Key, std::shared_ptr<const Value>>;
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace clipcap::onednn
