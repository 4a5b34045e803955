// A linear layer for inference: the weight is reordered once into the GEMM library's blocked format, and
// bias, activation and residual are applied while the product is still in registers.
//
// Equation   y = f(x W^T + bias) + residual
// Shapes     W [N,K]; bias [N]; x [M,K]; residual, y [M,N].
// Layout     contiguous rows; y may be residual, not x.
// Numerics   float accumulation in the library's order. A NaN before f is a NaN in y, for every f.
// Determinism bitwise for one thread count and one M.
// Cost       2MNK FLOPs; keeps one copy of W (bytes()), padded to the library's block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensor/kernels/activation.h"

namespace clipcap {

class PackedLinear {
 public:
  /// Copies what it needs: weight [N,K] and bias [N] (or null) may be freed afterwards. `residual` fixes
  /// whether run() adds one.
  PackedLinear(const float* weight, const float* bias, int64_t n, int64_t k, Activation activation,
               bool residual);
  ~PackedLinear();
  PackedLinear(PackedLinear&& other) noexcept;
  PackedLinear& operator=(PackedLinear&& other) noexcept;

  /// x [M,K], residual [M,N] (null exactly when built without), y [M,N]; throws Error otherwise. Safe to call
  /// from several threads.
  void run(const float* x, int64_t rows, const float* residual, float* y) const;

  [[nodiscard]] int64_t in_features() const;   // K
  [[nodiscard]] int64_t out_features() const;  // N
  [[nodiscard]] size_t bytes() const;          // of the packed weight and the bias

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace clipcap
