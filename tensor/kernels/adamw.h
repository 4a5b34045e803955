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
  T* param = nullptr;
  const T* grad = nullptr;
  Real<T>* m = nullptr;  // first and second moment
  Real<T>* v = nullptr;
  int64_t numel = 0;
  float weight_decay = 0;
  float lr_scale = 0;
};

template <class T>
struct AdamwStep {
  const AdamwTensor<T>* tensors = nullptr;
  int64_t count = 0;
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double eps = 0;
  int64_t step = 0;  // t, from 1
  double grad_scale = 0;
};

template <class T>
struct SumSquares {
  const T* const* tensors = nullptr;
  const int64_t* numels = nullptr;
  int64_t count = 0;
  double* result = nullptr;  // [1]
};

/// Thirteen operations a parameter.
template <class T>
[[nodiscard]] Cost cost(const AdamwStep<T>& p) {
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

extern Op<AdamwStep> adamw;
extern Op<SumSquares> sum_squares;

namespace reference {
template <class T>
void adamw(const AdamwStep<T>& p);
template <class T>
void sum_squares(const SumSquares<T>& p);
}  // namespace reference

}  // namespace clipcap
