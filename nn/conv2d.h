// Conv2d: y = f(x * W + b (+ residual)) over channels-last pictures, f = ReLU or nothing. Inference only: it
// takes and gives plain Tensors, so no gradient can be expected of it.
#pragma once

#include <memory>

#include "nn/module.h"
#include "tensor/kernels/conv2d.h"

namespace clipcap::nn {

struct Conv2dOptions {
  int64_t stride = 1;
  bool relu = false;
  bool residual = false;  // forward() takes a second input that is added before the ReLU
};

class Conv2d : public Module {
 public:
  Variable weight;  // [O,C,K,K]
  Variable bias;    // [O]

  /// Odd `kernel` K, padded by (K-1)/2 so that stride 1 keeps the size. Normal weights of He et al. 2015
  /// (variance 2 / (C K^2)) times `gain`, zero bias; frozen.
  Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, Generator& generator,
         Conv2dOptions options = {}, double gain = 1.0);

  /// x [N,H,W,C], contiguous: [N,H',W',O] (tensor/kernels/conv2d.h).
  [[nodiscard]] Tensor forward(const Tensor& x, const Run& run = {}) const;
  /// For a layer whose options ask for a residual [N,H',W',O]: it is overwritten and returned, one tensor
  /// fewer to write.
  [[nodiscard]] Tensor forward(const Tensor& x, const Tensor& residual, const Run& run = {}) const;
  bool pack() override;
  [[nodiscard]] bool packed() const override { return packed_ != nullptr; }
  [[nodiscard]] const Conv2dGeometry& geometry() const { return geometry_; }
  void visit(Visitor& visitor) override {
    visitor("weight", weight);
    visitor("bias", bias);
  }
  [[nodiscard]] std::string describe() const override;

 private:
  Conv2dGeometry geometry_;
  Conv2dOptions options_;
  std::shared_ptr<const PreparedWeight> packed_;
  Tensor packed_bias_;  // [O]
};

}  // namespace clipcap::nn
