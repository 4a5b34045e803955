// Pre-LN Transformer layers (Xiong et al. 2020): x + f(LN(x)) for every sub-layer.
#pragma once

#include "nn/attention.h"

namespace clipcap::nn {

class EncoderLayer : public Module {
 public:
  LayerNorm norm_attention;
  SelfAttention attention;
  LayerNorm norm_mlp;
  Mlp mlp;

  EncoderLayer() = default;
  EncoderLayer(int64_t dim, int64_t heads, int64_t hidden, Activation activation, double dropout,
               Generator& generator);
  /// x [B,T,d], valid u8 [B,T] or undefined: [B,T,d].
  [[nodiscard]] Variable forward(const Variable& x, const Tensor& valid, bool causal, const Run& run) const;
  /// The first `rows` positions of the same, [B,rows,d]: a tower that pools one position need not
  /// finish the others.
  [[nodiscard]] Variable forward_first(const Variable& x, int64_t rows, const Tensor& valid, bool causal,
                                       const Run& run) const;
  void visit(Visitor& visitor) override {
    visitor("norm_attention", norm_attention);
    visitor("attention", attention);
    visitor("norm_mlp", norm_mlp);
    visitor("mlp", mlp);
  }

 private:
  double dropout_ = 0;
};

class DecoderLayer : public Module {
 public:
  LayerNorm norm_self;
  SelfAttention self_attention;
  LayerNorm norm_cross;
  CrossAttention cross_attention;
  LayerNorm norm_mlp;
  Mlp mlp;

  DecoderLayer() = default;
  DecoderLayer(int64_t dim, int64_t heads, int64_t hidden, Activation activation, double dropout,
               Generator& generator);
  /// x [B,T,d]: [B,T,d], each position seeing those before it and the memory.
  [[nodiscard]] Variable forward(const Variable& x, const CrossMemory& memory, const Run& run) const;
  /// One decoding step of beams * B rows: x [B*beams,1,d], memory of B clips. See SelfAttention::step.
  [[nodiscard]] Variable step(const Variable& x, KvCache& cache, const CrossMemory& memory,
                              const Run& run = {}) const;
  void visit(Visitor& visitor) override {
    visitor("norm_self", norm_self);
    visitor("self_attention", self_attention);
    visitor("norm_cross", norm_cross);
    visitor("cross_attention", cross_attention);
    visitor("norm_mlp", norm_mlp);
    visitor("mlp", mlp);
  }

 private:
  double dropout_ = 0;
};

}  // namespace clipcap::nn
