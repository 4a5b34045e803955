// AdamW over many tensors in one call, and the sum of squares that gradient clipping needs.
//
// Equation   g' = g * grad_scale;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
//            param -= lr * lr_scale * (weight_decay * param + (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps))
//            (Loshchilov and Hutter 2019, algorithm 2, decoupled decay as PyTorch has it)
// Shapes     any, flattened.
// Numerics   float state; bias corrections in double on the host; squares and their sum in double.
// Determinism bitwise for any thread count: elements are independent, and sum_squares adds fixed blocks in
//            order.
// Cost       AdamwStep reads 16 and writes 12 bytes a parameter; SumSquares reads 4 bytes an element.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct AdamwTensor {
  T* param;
  const T* grad;
  Real<T>* m;  // first and second moment
  Real<T>* v;
  int64_t numel;
  float weight_decay;
  float lr_scale;
};

template <class T>
struct Adamw {
  const AdamwTensor<T>* tensors;
  int64_t count;
  double lr;
  double beta1;
  double beta2;
  double eps;
  int64_t step;  // t, from 1
  double grad_scale;
};

template <class T>
struct SumSquares {
  const T* const* tensors;
  const int64_t* numels;
  int64_t count;
  double* result;  // [1]
};

/// Thirteen operations a parameter.
template <class T>
[[nodiscard]] Cost cost(const Adamw<T>& p) {
  double numel = 0;
  for (int64_t t = 0; t < p.count; ++t) numel += static_cast<double>(p.tensors[t].numel);
  return {13 * numel, numel * 2 * (sizeof(T) + sizeof(Real<T>)), numel * (sizeof(T) + 2 * sizeof(Real<T>))};
}
template <class T>
[[nodiscard]] Cost cost(const SumSquares<T>& p) {
  double numel = 0;
  for (int64_t t = 0; t < p.count; ++t) numel += static_cast<double>(p.numels[t]);
  return {2 * numel, numel * sizeof(T), sizeof(double)};
}

extern Op<Adamw> adamw;
extern Op<SumSquares> sum_squares;

namespace reference {
template <class T>
void adamw(const Adamw<T>& p);
template <class T>
void sum_squares(const SumSquares<T>& p);
}  // namespace reference

}  // namespace clipcap
