// Linear: y = activation(x W^T + b) (+ residual). The activation and the residual belong to the layer so
// that, packed for inference, they run inside the GEMM.
#pragma once

#include <memory>

#include "nn/module.h"
#include "tensor/ops.h"

namespace clipcap::nn {

struct LinearOptions {
  bool bias = true;
  Activation activation = Activation::none;
  bool residual = false;  // forward() takes a second input that is added to the output
};

class Linear : public Module {
 public:
  Variable weight;  // [N,K]
  Variable bias;    // [N] or undefined

  Linear() = default;
  Linear(int64_t in_features, int64_t out_features, Generator& generator, LinearOptions options = {});

  /// x [...,K]: [...,N].
  [[nodiscard]] Variable forward(const Variable& x, const Run& run = {}) const;
  /// For a layer whose options ask for a residual [...,N]: dropout(y) + residual, where nothing is dropped
  /// but in training.
  [[nodiscard]] Variable forward(const Variable& x, const Variable& residual, const Run& run = {},
                                 double dropout = 0.0) const;
  bool pack() override;
  [[nodiscard]] bool packed() const override { return packed_ != nullptr; }
  [[nodiscard]] int64_t in_features() const { return in_features_; }
  [[nodiscard]] int64_t out_features() const { return out_features_; }
  void visit(Visitor& visitor) override {
    visitor("weight", weight);
    visitor("bias", bias);
  }
  [[nodiscard]] std::string describe() const override;

 private:
  int64_t in_features_ = 0;
  int64_t out_features_ = 0;
  LinearOptions options_;
  std::shared_ptr<const ops::PreparedLinear> packed_;
  Tensor packed_bias_;  // [N] or undefined
};

}  // namespace clipcap::nn
