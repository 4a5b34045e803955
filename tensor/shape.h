// Sizes of a tensor's dimensions, up to six, held inline.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "tensor/check.h"

namespace clipcap {

inline constexpr int kMaxRank = 6;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) {
    CHECK(dims.size() <= kMaxRank, "Shape: ", dims.size(), " dimensions; at most ", kMaxRank);
    for (const int64_t size : dims) append(size);
  }

  [[nodiscard]] int rank() const { return rank_; }
  /// Size of dimension `i`; negative counts from the end.
  [[nodiscard]] int64_t operator[](int i) const { return dims_[static_cast<size_t>(index(i))]; }
  void set(int i, int64_t size) {
    CHECK(size >= 0, "Shape: negative size ", size);
    dims_[static_cast<size_t>(index(i))] = size;
  }
  void append(int64_t size) {
    CHECK(rank_ < kMaxRank, "Shape: more than ", kMaxRank, " dimensions");
    CHECK(size >= 0, "Shape: negative size ", size);
    dims_[static_cast<size_t>(rank_++)] = size;
  }
  /// Position of dimension `i` counted from the front; throws if there is none.
  [[nodiscard]] int index(int i) const {
    const int position = i < 0 ? i + rank_ : i;
    CHECK(position >= 0 && position < rank_, "dimension ", i, " of a tensor with ", rank_, " dimensions");
    return position;
  }
  /// Number of elements; 1 for rank 0. Throws when it does not fit 63 bits.
  [[nodiscard]] int64_t numel() const {
    int64_t count = 1;
    for (int i = 0; i < rank_; ++i) {
      CHECK(!__builtin_mul_overflow(count, dims_[static_cast<size_t>(i)], &count),
            "Shape: too many elements");
    }
    return count;
  }
  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i) {
      if ((*this)[i] != other[i]) return false;
    }
    return true;
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// Steps, in elements, from one index to the next in every dimension.
using Strides = std::array<int64_t, kMaxRank>;

[[nodiscard]] inline Strides contiguous_strides(const Shape& shape) {
  Strides strides{};
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = step;
    step *= shape[i];
  }
  return strides;
}

/// The shape two operands broadcast to (NumPy's rule). Throws naming both shapes when they do not.
[[nodiscard]] Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i > 0 ? ", " : "") << shape[i];
  return out << ']';
}

}  // namespace clipcap
