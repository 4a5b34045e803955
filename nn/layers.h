// The small layers: LayerNorm, Embedding, the two-layer MLP and the convolution over time.
#pragma once

#include "nn/init.h"
#include "nn/linear.h"

namespace clipcap::nn {

class LayerNorm : public Module {
 public:
  Variable weight;  // [D]
  Variable bias;    // [D]
  double eps = 1e-5;

  LayerNorm() = default;
  explicit LayerNorm(int64_t dim)
      : weight(constant_parameter({dim}, 1.0)), bias(constant_parameter({dim}, 0.0)) {}
  [[nodiscard]] Variable forward(const Variable& x, const Run& run = {}) const {
    Call call(run, *this, "forward", x);
    return call.returns(diff::layer_norm(x, weight, bias, eps));
  }
  void visit(Visitor& visitor) override {
    visitor("weight", weight);
    visitor("bias", bias);
  }
  [[nodiscard]] std::string describe() const override { return concat_text("LayerNorm ", weight.dim(0)); }
};

class Embedding : public Module {
 public:
  Variable weight;  // [V,D]

  Embedding() = default;
  Embedding(int64_t vocab, int64_t dim, double deviation, Generator& generator)
      : weight(normal_parameter({vocab, dim}, deviation, generator)) {}
  /// ids i32 [...]: [...,D].
  [[nodiscard]] Variable forward(const Tensor& ids, const Run& run = {}) const {
    Call call(run, *this, "forward", ids);
    return call.returns(diff::embedding(ids, weight));
  }
  void visit(Visitor& visitor) override { visitor("weight", weight); }
  [[nodiscard]] std::string describe() const override {
    return concat_text("Embedding ", weight.dim(0), " x ", weight.dim(1));
  }
};

/// x + down(activation(up(x_normalised))): the feed-forward half of a Transformer layer.
class Mlp : public Module {
 public:
  Linear up;
  Linear down;

  Mlp() = default;
  Mlp(int64_t dim, int64_t hidden, Activation activation, Generator& generator)
      : up(dim, hidden, generator, {.activation = activation}),
        down(hidden, dim, generator, {.residual = true}) {}
  /// normalised, residual [...,D]: residual + down(activation(up(normalised))). In training, dropout
  /// after both layers.
  [[nodiscard]] Variable forward(const Variable& normalised, const Variable& residual, double dropout,
                                 const Run& run) const {
    Call call(run, *this, "forward", normalised, residual);
    const Variable hidden = run.dropout(up.forward(normalised, run), dropout);
    return call.returns(down.forward(hidden, residual, run, dropout));
  }
  void visit(Visitor& visitor) override {
    visitor("up", up);
    visitor("down", down);
  }
};

/// Convolution over time with zero padding, output as long as the input (odd kernel).
class Conv1d : public Module {
 public:
  // Weight [out, kernel*in], tap-major: PyTorch's [out,in,kernel] with the last two axes swapped.
  Linear taps;

  Conv1d() = default;
  Conv1d(int64_t in_channels, int64_t out_channels, int64_t kernel, Activation activation,
         Generator& generator)
      : taps(in_channels * kernel, out_channels, generator, {.activation = activation}), kernel_(kernel) {
    CHECK(kernel % 2 == 1, "Conv1d: kernel ", kernel, "; expected an odd size");
  }
  /// x [B,T,in]: [B,T,out].
  [[nodiscard]] Variable forward(const Variable& x, const Run& run = {}) const;
  void visit(Visitor& visitor) override { visitor("taps", taps); }
  [[nodiscard]] std::string describe() const override { return concat_text("Conv1d, kernel ", kernel_); }

 private:
  int64_t kernel_ = 1;
};

}  // namespace clipcap::nn
