// Multi-head attention: self (fused QKV), cross (fused KV of a memory) and the caches that decoding needs.
// Vaswani et al. 2017, section 3.2. Kernel: tensor/kernels/attention.h. An observer that wants
// "probabilities" is given the attention weights of every call, [B,H,Tq,Tk].
#pragma once

#include "nn/layers.h"

namespace clipcap::nn {

/// Keys and values of the positions already decoded, [B,Tmax,H,K] each; `length` of them are filled.
struct KvCache {
  Tensor key;
  Tensor value;
  int64_t length = 0;
  [[nodiscard]] static KvCache make(int64_t batch, int64_t max_length, int64_t heads, int64_t head_dim);
  /// Row b becomes what row rows[b] was (beam search), for the filled positions.
  void reorder(const Tensor& rows);
};

/// Keys and values of a memory, computed once by one GEMM.
struct CrossMemory {
  Variable key_value;  // [B,M,2,H,K]
  Tensor valid;        // u8 [B,M] or undefined
};

class SelfAttention : public Module {
 public:
  Linear in_proj;   // d -> 3d: query, key, value
  Linear out_proj;  // d -> d, adds the residual

  SelfAttention() = default;
  SelfAttention(int64_t dim, int64_t heads, Generator& generator);
  /// x [B,T,d] (normalised), residual [B,Q,d] with Q <= T; valid u8 [B,T] or undefined: residual +
  /// attention(x) for the first Q positions, which attend to all T (those before them, if causal).
  [[nodiscard]] Variable forward(const Variable& x, const Variable& residual, const Tensor& valid,
                                 bool causal, double dropout, const Run& run) const;
  /// Decoding: x [B,T,d] are the next T positions after the cache's; they are appended to it. The cache keeps
  /// no history: throws Error where a gradient would have to be recorded.
  [[nodiscard]] Variable step(const Variable& x, const Variable& residual, KvCache& cache,
                              const Run& run = {}) const;
  void visit(Visitor& visitor) override {
    visitor("in_proj", in_proj);
    visitor("out_proj", out_proj);
  }
  [[nodiscard]] std::string describe() const override {
    return concat_text("SelfAttention, ", heads_, " heads");
  }
  [[nodiscard]] int64_t heads() const { return heads_; }

 private:
  int64_t heads_ = 1;
};

class CrossAttention : public Module {
 public:
  Linear query;     // d -> d
  Linear kv_proj;   // d_memory -> 2d: key, value
  Linear out_proj;  // d -> d, adds the residual

  CrossAttention() = default;
  CrossAttention(int64_t dim, int64_t memory_dim, int64_t heads, Generator& generator);
  /// memory [B,M,d_memory], valid u8 [B,M] or undefined.
  [[nodiscard]] CrossMemory project(const Variable& memory, const Tensor& valid, const Run& run = {}) const;
  /// x [B,T,d] (normalised), residual [B,T,d]: residual + attention(x, memory). While decoding with several
  /// rows per clip (beams), x may be [B,beams,d]: the rows of a clip attend independently, as positions do.
  [[nodiscard]] Variable forward(const Variable& x, const Variable& residual, const CrossMemory& memory,
                                 double dropout, const Run& run) const;
  void visit(Visitor& visitor) override {
    visitor("query", query);
    visitor("kv_proj", kv_proj);
    visitor("out_proj", out_proj);
  }
  [[nodiscard]] std::string describe() const override {
    return concat_text("CrossAttention, ", heads_, " heads");
  }

 private:
  int64_t heads_ = 1;
};

}  // namespace clipcap::nn
