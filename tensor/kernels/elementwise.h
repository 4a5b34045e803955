// Elementwise arithmetic with broadcasting, and y = x * scale + shift.
//
// Equation   binary: y = a + b, a - b, a * b or a / b;  affine: y = x * scale + shift
// Shapes     binary: y has the broadcast shape `sizes`; a and b are described by strides over it, 0 where
//            they repeat. Rank 0 is one number. affine: any, flattened.
// Layout     y contiguous. a and b strided by any steps, in elements; either may be y itself (same strides).
//            x contiguous; y may be x.
// Numerics   one rounding an operation; affine may round once instead of twice (a fused multiply-add).
// Determinism bitwise for any thread count; elements are independent.
// Cost       binary reads each operand once, 4 bytes an element, repeated ones from cache, and writes 4;
//            affine reads 4 and writes 4.
#pragma once

#include "tensor/op.h"
#include "tensor/shape.h"

namespace clipcap {

enum class BinaryKind { add, sub, mul, div };

template <class T>
struct Binary {
  const T* a = nullptr;
  const T* b = nullptr;
  T* y = nullptr;
  int rank = 0;
  int64_t sizes[kMaxRank] = {};
  int64_t a_strides[kMaxRank] = {};
  int64_t b_strides[kMaxRank] = {};
  BinaryKind kind = BinaryKind::add;
};

template <class T>
struct Affine {
  const T* x = nullptr;
  T* y = nullptr;  // may be x
  int64_t count = 0;
  Real<T> scale = 0;
  Real<T> shift = 0;
};

/// One operation an element.
template <class T>
[[nodiscard]] Cost cost(const Binary<T>& p) {
  double count = 1;
  double a = 1;  // elements that are read: repeated ones once
  double b = 1;
  for (int d = 0; d < p.rank; ++d) {
    const auto size = static_cast<double>(p.sizes[d]);
    count *= size;
    if (p.a_strides[d] != 0) a *= size;
    if (p.b_strides[d] != 0) b *= size;
  }
  return {count, (a + b) * sizeof(T), count * sizeof(T)};
}
/// A multiplication and an addition an element.
template <class T>
[[nodiscard]] Cost cost(const Affine<T>& p) {
  const auto count = static_cast<double>(p.count);
  return {2 * count, count * sizeof(T), count * sizeof(T)};
}

extern Op<Binary> binary;
extern Op<Affine> affine;

namespace reference {
template <class T>
void binary(const Binary<T>& p);
template <class T>
void affine(const Affine<T>& p);
}  // namespace reference

}  // namespace clipcap
