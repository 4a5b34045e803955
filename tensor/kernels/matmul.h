// Batched matrix product in float.
//
// Equation   c[i] = op(a[i]) op(b[i])  (+ c[i] when accumulate), op = identity or transpose
// Shapes     a [M,K], or [K,M] when a_transposed; b [K,N], or [N,K] when b_transposed; c [M,N]; `batch` of
// each. Layout     each matrix contiguous, row-major; a batch stride of 0 repeats one matrix (a and b only).
// Numerics   float accumulation, in an order chosen by the library (oneDNN) from the shape and the thread
// count.
//            K = 0 writes zeros, or leaves c alone when accumulating.
// Determinism bitwise for one thread count.
// Cost       2*batch*M*N*K FLOPs; reads 4*batch*(MK + KN), writes 4*batch*MN bytes.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct Matmul {
  const T* a;
  const T* b;
  T* c;                    // not overlapping a or b
  int64_t batch;           // products
  int64_t m;               // rows of c
  int64_t n;               // columns of c
  int64_t k;               // the summed dimension
  int64_t a_batch_stride;  // elements from one matrix to the next; 0 repeats
  int64_t b_batch_stride;
  int64_t c_batch_stride;
  bool a_transposed;  // a is stored [K,M]
  bool b_transposed;  // b is stored [N,K]
  bool accumulate;    // c += instead of c =
};

template <class T>
[[nodiscard]] Cost cost(const Matmul<T>& p) {
  const auto batch = static_cast<double>(p.batch);
  const auto m = static_cast<double>(p.m);
  const auto n = static_cast<double>(p.n);
  const auto k = static_cast<double>(p.k);
  const double a = m * k * (p.a_batch_stride == 0 ? 1 : batch);
  const double b = k * n * (p.b_batch_stride == 0 ? 1 : batch);
  const double c = batch * m * n;
  return {2 * batch * m * n * k, (a + b + (p.accumulate ? c : 0)) * sizeof(T), c * sizeof(T)};
}

extern Op<Matmul> matmul;

namespace reference {
template <class T>
void matmul(const Matmul<T>& p);
}  // namespace reference

}  // namespace clipcap
