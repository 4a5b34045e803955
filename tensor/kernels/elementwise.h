// Elementwise arithmetic with broadcasting, and y = x * scale + shift.
//
// Shapes     y has the broadcast shape; a and b are described by strides over it (0 where they repeat).
// Layout     y contiguous; a and b strided.
// Determinism bitwise; elements are independent.
// Cost       reads 8 bytes and writes 4 an element (float).
#pragma once

#include "tensor/op.h"
#include "tensor/shape.h"

namespace clipcap {

enum class BinaryKind { add, sub, mul, div };

template <class T>
struct Binary {
  const T* a;
  const T* b;
  T* y;
  int rank;
  int64_t sizes[kMaxRank];
  int64_t a_strides[kMaxRank];
  int64_t b_strides[kMaxRank];
  BinaryKind kind;
};

template <class T>
struct Affine {
  const T* x;
  T* y;  // may be x
  int64_t count;
  T scale;
  T shift;
};

extern Op<void(const Binary<float>&)> binary;
extern Op<void(const Affine<float>&)> affine;

namespace reference {
template <class T>
void binary(const Binary<T>& p);
template <class T>
void affine(const Affine<T>& p);
}  // namespace reference

}  // namespace clipcap
