// A linear layer for inference: the weight reordered once into the GEMM library's own format, with bias, activation
// and residual fused into the product. The weight passed in can be dropped afterwards.
//
// Equation   y = act(x W^T + b) (+ residual)
// Shapes     x [M,K], W [N,K], b [N], residual and y [M,N]. Contiguous.
// Cost       2MNK FLOPs; reads the packed weight once a call.
#pragma once

#include <cstdint>
#include <memory>

#include "tensor/kernels/activation.h"

namespace clipcap {

class PackedLinear {
 public:
  PackedLinear(const float* weight, const float* bias, int64_t n, int64_t k, Activation activation, bool residual);
  ~PackedLinear();
  PackedLinear(PackedLinear&&) noexcept;
  PackedLinear& operator=(PackedLinear&&) noexcept;

  /// `residual` must be given exactly when the layer was made with it; it may be y itself.
  void run(const float* x, int64_t rows, const float* residual, float* y) const;
  [[nodiscard]] size_t bytes() const;  // held by the packed weight and the bias

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace clipcap
