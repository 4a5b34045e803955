// Batched matrix product with an epilogue: bias, activation and residual while the product is still near.
//
// Equation   c[i] = f(op(a[i]) op(b[i]) + bias) + residual[i],  op = identity or transpose, f an activation
// Shapes     a [M,K], or [K,M] when a_transposed; b [K,N], or [N,K] when b_transposed; bias [N]; residual and
//            c [M,N]; `batch` of each but the bias.
// Layout     each matrix contiguous, row-major; a batch stride of 0 repeats one matrix (a and b only).
//            residual has c's strides, and may be c itself: c is then added to. c overlaps nothing else.
// Prepared   a weight b that many products share can be made ready once by prepare_matmul, in the format that
//            the device's products like best (oneDNN's blocked one on the CPU, plain on a GPU); the products
//            then take it in place of b. It may be used by several threads at once.
// Numerics   float accumulation, in an order chosen by the library (oneDNN) from the shape and the thread
//            count. K = 0 gives f(bias) + residual. A NaN before f is a NaN after it, for every f.
// Errors     a weight prepared for another device, dtype or shape throws Error.
// Determinism bitwise for one thread count.
// Cost       2*batch*M*N*K FLOPs; reads 4*batch*(MK + KN), writes 4*batch*MN bytes.
#pragma once

#include <cstdint>
#include <memory>

#include "tensor/kernels/activation.h"
#include "tensor/kernels/prepared_weight.h"
#include "tensor/op.h"

namespace clipcap {

template <class T>
struct Matmul {
  const T* a = nullptr;
  const T* b = nullptr;         // null when there is a prepared one
  const T* bias = nullptr;      // [N] or null
  const T* residual = nullptr;  // or null; may be c
  T* c = nullptr;
  int64_t batch = 1;           // products
  int64_t m = 0;               // rows of c
  int64_t n = 0;               // columns of c
  int64_t k = 0;               // the summed dimension
  int64_t a_batch_stride = 0;  // elements from one matrix to the next; 0 repeats
  int64_t b_batch_stride = 0;
  int64_t c_batch_stride = 0;
  bool a_transposed = false;  // a is stored [K,M]
  bool b_transposed = false;  // b is stored [N,K]
  Activation activation = Activation::none;
  const PreparedWeight* prepared = nullptr;  // in place of b; then a is not transposed and batch is 1
};

template <class T>
struct PrepareMatmul {
  const T* b = nullptr;  // [N,K], the weight of a linear layer; copied, so that it may be freed afterwards
  int64_t n = 0;
  int64_t k = 0;
  std::shared_ptr<const PreparedWeight>* prepared = nullptr;  // [1] written
};

/// The products; the epilogue's few operations an element are left out.
template <class T>
[[nodiscard]] Cost cost(const Matmul<T>& p) {
  const auto batch = static_cast<double>(p.batch);
  const auto m = static_cast<double>(p.m);
  const auto n = static_cast<double>(p.n);
  const auto k = static_cast<double>(p.k);
  const double a = m * k * (p.a_batch_stride == 0 ? 1 : batch);
  const double b = k * n * (p.b_batch_stride == 0 ? 1 : batch);
  const double c = batch * m * n;
  return {2 * c * k, (a + b + (p.bias != nullptr ? n : 0) + (p.residual != nullptr ? c : 0)) * sizeof(T),
          c * sizeof(T)};
}
template <class T>
[[nodiscard]] Cost cost(const PrepareMatmul<T>& p) {
  const double bytes = static_cast<double>(p.n) * static_cast<double>(p.k) * sizeof(T);
  return {0, bytes, bytes};
}

extern Op<Matmul> matmul;
extern Op<PrepareMatmul> prepare_matmul;

namespace reference {
template <class T>
void matmul(const Matmul<T>& p);
/// A plain copy; the only kind that the reference's products take.
template <class T>
void prepare_matmul(const PrepareMatmul<T>& p);
}  // namespace reference

}  // namespace clipcap
