// One AdamW step over all tensors at once, and the sum of squares that gradient clipping needs.
//
// Equation   g = grad * grad_scale;  param *= 1 - lr' * weight_decay;  m = beta1 m + (1 - beta1) g;
//            v = beta2 v + (1 - beta2) g^2;
//            param -= lr' * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps),  lr' = lr * lr_scale
//            (Loshchilov & Hutter 2019, alg. 2, with PyTorch's decay by lr * weight_decay)
// Shapes     `count` tensors of `numel` numbers each.
// Layout     contiguous.
// Numerics   scalars in double, per-element arithmetic in T. The sum of squares adds fixed blocks in order,
// in double. Determinism bitwise, for any thread count: elements and blocks are independent of the split.
// Cost       adamw reads 16 and writes 12 bytes an element; sum_squares reads 4.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct AdamwTensor {
  T* param;
  const T* grad;
  T* m;  // running mean of the gradient
  T* v;  // running mean of its square
  int64_t numel;
  float weight_decay;
  float lr_scale;  // factor on lr for this tensor
};

template <class T>
struct Adamw {
  const AdamwTensor<T>* tensors;
  int64_t count;
  double lr;
  double beta1;
  double beta2;
  double eps;
  int64_t step;       // 1 in the first call
  double grad_scale;  // factor on every gradient, from clipping
};

template <class T>
struct SumSquares {
  const T* const* tensors;  // [count]
  const int64_t* numels;    // [count]
  int64_t count;
  double* result;  // [1]
};

extern Op<void(const Adamw<float>&)> adamw;
extern Op<void(const SumSquares<float>&)> sum_squares;

namespace reference {
template <class T>
void adamw(const Adamw<T>& p);
template <class T>
void sum_squares(const SumSquares<T>& p);
}  // namespace reference

}  // namespace clipcap
