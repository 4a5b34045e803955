// A weight that many products or convolutions share, made ready once by the backend that runs them:
// reordered, padded, or only copied. prepare_matmul and prepare_conv2d make them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace clipcap {

/// What stands inside is the backend's own affair: it finds its own class with dynamic_cast and
/// refuses others.
class PreparedWeight {
 public:
  PreparedWeight() = default;
  PreparedWeight(const PreparedWeight&) = delete;
  PreparedWeight& operator=(const PreparedWeight&) = delete;
  virtual ~PreparedWeight() = default;
  [[nodiscard]] virtual size_t bytes() const = 0;
};

namespace reference {

/// The reference's own kind: a plain copy.
template <class T>
class PlainWeight : public PreparedWeight {
 public:
  PlainWeight(const T* weight, std::vector<int64_t> weight_sizes) : sizes(std::move(weight_sizes)) {
    int64_t count = 1;
    for (const int64_t size : sizes) count *= size;
    values.assign(weight, weight + count);
  }
  [[nodiscard]] size_t bytes() const override { return values.size() * sizeof(T); }

  std::vector<int64_t> sizes;
  std::vector<T> values;
};

}  // namespace reference
}  // namespace clipcap
