// Softmax cross entropy with its gradient in one pass over the logits, and plain softmax / log-softmax.
//
// Equation   row loss = (1-e) (lse - x_t) + e (lse - mean_j x_j),  lse = log sum_j exp(x_j)
//            (label smoothing of Szegedy et al. 2016, section 7, as PyTorch: e/V on every class)
//            loss = sum over counted rows / denominator
//            dlogits_j = (softmax_j - (1-e) [j = t] - e/V) / denominator
//            denominator as given, or the number of counted rows
// Shapes     logits, dlogits [N,V]; targets [N]; loss [1]. Softmax: x, y [N,D] over the last dimension.
// Layout     contiguous rows; dlogits may alias logits, y may alias x.
// Ignored    a row whose target is ignore_index: no loss, zero gradient. No counted row: loss 0.
// Numerics   the maximum is subtracted; the row loss is lse - x, never the log of a small softmax; rows are
//            summed in double. -inf logits are allowed for classes that are not the target (with label
//            smoothing the loss is then inf). Softmax of an all -inf row is zeros; log-softmax of it is -inf.
// Errors     a target outside [0,V) that is not ignore_index is reported with its row and V before anything
//            is written (tensor/index_error.h); with a record, its row then counts as ignored.
// Determinism bitwise for any thread count: each row has one owner, the row losses are added in row order.
// Cost       reads 4NV bytes twice (the second time from cache), writes 4NV with dlogits; softmax reads 4ND
//            twice and writes 4ND.
#pragma once

#include <cstdint>

#include "tensor/index_error.h"
#include "tensor/op.h"

namespace clipcap {

template <class T>
struct CrossEntropy {
  const T* logits = nullptr;         // [N,V]
  const int32_t* targets = nullptr;  // [N] class ids, or ignore_index
  int32_t ignore_index = 0;
  float label_smoothing = 0;    // e in [0,1]
  Real<T>* loss = nullptr;      // [1]
  T* dlogits = nullptr;         // [N,V] or null: gradient of loss[0]; may alias logits
  int64_t rows = 0;             // N
  int64_t vocab = 0;            // V
  double denominator = 0;       // what the sum is divided by; 0: the number of counted rows
  IndexError* error = nullptr;  // record of a target out of range (tensor/index_error.h), or null: throw
};

template <class T>
struct SoftmaxFwd {
  const T* x = nullptr;  // [N,D]
  T* y = nullptr;        // [N,D], may alias x
  int64_t rows = 0;      // N
  int64_t dim = 0;       // D
  bool log = false;      // log-softmax instead
};

/// Five operations a logit (maximum, difference, exponential, sum, smoothing), two more for the gradient.
template <class T>
[[nodiscard]] Cost cost(const CrossEntropy<T>& p) {
  const double logits = static_cast<double>(p.rows) * static_cast<double>(p.vocab);
  const bool gradient = p.dlogits != nullptr;
  return {(gradient ? 7 : 5) * logits, logits * sizeof(T) + static_cast<double>(p.rows) * sizeof(int32_t),
          gradient ? logits * sizeof(T) : sizeof(Real<T>)};
}
/// Five operations an element.
template <class T>
[[nodiscard]] Cost cost(const SoftmaxFwd<T>& p) {
  const double elements = static_cast<double>(p.rows) * static_cast<double>(p.dim);
  return {5 * elements, elements * sizeof(T), elements * sizeof(T)};
}

extern Op<CrossEntropy> cross_entropy;
extern Op<SoftmaxFwd> softmax_fwd;

namespace reference {  // the oracle: float, double, bfloat16
template <class T>
void cross_entropy(const CrossEntropy<T>& p);
template <class T>
void softmax_fwd(const SoftmaxFwd<T>& p);
}  // namespace reference

}  // namespace clipcap
