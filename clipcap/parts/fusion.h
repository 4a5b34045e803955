// Multi-scale temporal fusion (section 2.3, figure 3): squeeze in time, fuse on every scale, expand,
// aggregate.
#pragma once

#include <string>
#include <vector>

#include "nn/lstm.h"
#include "nn/transformer.h"

namespace clipcap {

enum class FusionKind { lstm, transformer, conv1d };
[[nodiscard]] FusionKind parse_fusion_kind(const std::string& text);

/// One scale's own block; only the members of its kind exist.
class FusionBlock : public nn::Module {
 public:
  FusionBlock(FusionKind kind, int64_t dim, bool bidirectional, Generator& generator);
  /// x [B,T,d] with zero rows past each length: [B,T,d], zero rows likewise.
  [[nodiscard]] Variable forward(const Variable& x, const std::vector<int32_t>& lengths,
                                 const nn::Run& run) const;
  void visit(nn::Visitor& visitor) override {
    visitor("lstm", lstm);
    visitor("lstm_reverse", lstm_reverse);
    visitor("transformer", transformer);
    visitor("conv", conv);
  }

  std::unique_ptr<nn::Lstm> lstm;
  std::unique_ptr<nn::Lstm> lstm_reverse;
  std::unique_ptr<nn::EncoderLayer> transformer;
  std::unique_ptr<nn::Conv1d> conv;

 private:
  FusionKind kind_;
};

/// Scale s = 0…S-1 works at n/2^s. A padded clip gives the same rows as the clip alone, at any length.
class TemporalFusion : public nn::Module {
 public:
  std::vector<FusionBlock> blocks;  // one a scale
  nn::Linear aggregate;             // S*d -> d, adds the residual
  nn::LayerNorm norm;

  TemporalFusion(FusionKind kind, int64_t scales, int64_t dim, bool bidirectional, Generator& generator);
  /// v [B,n,d], lengths[b] <= n real frames: f [B,n,d], zero rows past each length. When `activations` is
  /// given, each scale's fused rows [B,n_s,d] are put there (for explain).
  [[nodiscard]] Variable forward(const Variable& v, const std::vector<int32_t>& lengths, const nn::Run& run,
                                 std::vector<Variable>* activations = nullptr) const;
  void visit(nn::Visitor& visitor) override {
    visitor("blocks", blocks);
    visitor("aggregate", aggregate);
    visitor("norm", norm);
  }
};

/// Constant matrices [B,rows,columns], f64 or f32, applied with one batched product.
/// Averages pairs: row i of a clip is the mean of its real frames 2i and 2i+1.
[[nodiscard]] Tensor squeeze_matrix(const std::vector<int32_t>& lengths, int64_t columns, DType dtype);
/// Linear interpolation (half-pixel centres, clamped) from `from` real rows to `to` real rows of each clip.
[[nodiscard]] Tensor expand_matrix(const std::vector<int32_t>& from, int64_t columns,
                                   const std::vector<int32_t>& to, int64_t rows, DType dtype);
/// u8 [B,n]: 1 for the first lengths[b] rows.
[[nodiscard]] Tensor valid_mask(const std::vector<int32_t>& lengths, int64_t n);
/// x [B,n,d] with the rows past each length set to zero.
[[nodiscard]] Variable mask_rows(const Variable& x, const std::vector<int32_t>& lengths);
/// Sinusoidal positions [n,d] (Vaswani et al. 2017, section 3.5).
[[nodiscard]] Tensor sinusoidal_positions(int64_t n, int64_t dim, DType dtype);

}  // namespace clipcap
