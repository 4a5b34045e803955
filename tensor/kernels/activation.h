// Bias and activation of a linear layer's output, in one pass each way.
//
// Equation   u = x + bias;  y = f(u);  backward: dx = dy * f'(u), dbias = sum of dx over the rows
//            relu: max(u, 0); gelu: u * (1 + erf(u / sqrt 2)) / 2 (Hendrycks & Gimpel 2016, exact form);
//            quick_gelu: u * sigmoid(1.702 u) (the same paper's approximation, used by CLIP)
//            gelu_tanh: u * (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3))) / 2 (the same paper's other one)
// Shapes     x, y, dy, dx [N,D]; bias, dbias [D].
// Layout     contiguous rows; y may be x, dx may be dy.
// Saved      x (before the bias); u is recomputed.
// Numerics   erf by two polynomials, absolute error below 2e-7; f'(0) of relu is 0. N = 0: dbias is zero.
//            A NaN in u is a NaN in y and, but for the identity, in dx: relu does not hide it.
// Determinism bitwise for one thread count: dbias is summed over the rows of as many pieces as there are
//            threads, then over the pieces in order; the same inside other parallel work.
// Cost       forward reads 4ND and writes 4ND bytes; backward reads 8ND and writes 4ND.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

enum class Activation { none, relu, gelu, quick_gelu, gelu_tanh };

template <class T>
struct BiasActivationFwd {
  const T* x = nullptr;     // [N,D]
  const T* bias = nullptr;  // [D] or null
  T* y = nullptr;           // [N,D]
  int64_t rows = 0;         // N
  int64_t dim = 0;          // D
  Activation activation = Activation::none;
};

template <class T>
struct BiasActivationBwd {
  const T* dy = nullptr;    // [N,D]
  const T* x = nullptr;     // [N,D] before the bias
  const T* bias = nullptr;  // [D] or null
  T* dx = nullptr;          // [N,D]
  T* dbias = nullptr;       // [D] or null; overwritten
  int64_t rows = 0;
  int64_t dim = 0;
  Activation activation = Activation::none;
};

/// Operations that an activation costs, an exponential or error function counted as ten.
[[nodiscard]] constexpr double activation_flops(Activation activation) {
  return activation == Activation::none ? 0 : activation == Activation::relu ? 1 : 14;
}
template <class T>
[[nodiscard]] Cost cost(const BiasActivationFwd<T>& p) {
  const double elements = static_cast<double>(p.rows) * static_cast<double>(p.dim);
  const double bias = p.bias != nullptr ? 1 : 0;
  return {elements * (bias + activation_flops(p.activation)),
          (elements + bias * static_cast<double>(p.dim)) * sizeof(T), elements * sizeof(T)};
}
template <class T>
[[nodiscard]] Cost cost(const BiasActivationBwd<T>& p) {
  const double elements = static_cast<double>(p.rows) * static_cast<double>(p.dim);
  const double bias = p.bias != nullptr ? 1 : 0;
  const double sums = p.dbias != nullptr ? 1 : 0;
  return {elements * (1 + bias + sums + activation_flops(p.activation)),
          (2 * elements + bias * static_cast<double>(p.dim)) * sizeof(T),
          (elements + sums * static_cast<double>(p.dim)) * sizeof(T)};
}

extern Op<BiasActivationFwd> bias_activation_fwd;
extern Op<BiasActivationBwd> bias_activation_bwd;

namespace reference {
/// f(z), for float and double.
template <class R>
[[nodiscard]] R activate(R z, Activation activation);
template <class T>
void bias_activation_fwd(const BiasActivationFwd<T>& p);
template <class T>
void bias_activation_bwd(const BiasActivationBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
