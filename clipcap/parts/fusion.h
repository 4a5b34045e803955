// Multi-scale temporal fusion (section 2.3, figure 3): squeeze in time, fuse on every
// scale, expand, aggregate.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nn/lstm.h"
#include "nn/transformer.h"

namespace clipcap {

enum class FusionKind { lstm, transformer, conv1d };
[[nodiscard]] FusionKind parse_fusion_kind(const std::string& text);

struct FusionOptions {
  FusionKind kind = FusionKind::lstm;
  int64_t scales = 3;
  int64_t dim = 512;           // d
  bool bidirectional = false;  // lstm
  int64_t heads = 8;           // transformer
  double dropout = 0.1;        // transformer
};

/// What follows from the clips' lengths alone: masks and constant matrices, made once for a set of lengths
/// and shared by every block and every loss that needs them.
struct FusionPlan {
  struct Scale {
    std::vector<int32_t> lengths;  // B: real rows of each clip on this scale, ceil(length / 2^s)
    Tensor length_tensor;          // i32 [B]
    Tensor valid;                  // u8 [B,n_s], n_s = ceil(n / 2^s)
    Tensor row_mask;               // [B,n_s,1], 1 or 0; undefined where no row is padding
    Tensor squeeze;                // [B,n_s,n_(s-1)]; undefined on scale 0
    Tensor expand;                 // [B,n,n_s]; undefined on scale 0
    Tensor positions;              // [n_s,d]; only for the Transformer
  };
  std::vector<Scale> scales;
};

/// One scale's own block; only the members of its kind exist.
class FusionBlock : public nn::Module {
 public:
  FusionBlock(const FusionOptions& options, Generator& generator);
  /// x [B,n_s,d] with zero rows past each length: [B,n_s,d], zero rows likewise.
  [[nodiscard]] Variable forward(const Variable& x, const FusionPlan::Scale& plan, const nn::Run& run) const;
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

  TemporalFusion(const FusionOptions& options, Generator& generator);
  /// Masks and matrices for B clips of lengths[b] real frames in n rows. The last set of lengths is
  /// remembered: clips of one length, the usual case, never ask for a second plan. Safe to call from several
  /// threads at once.
  [[nodiscard]] std::shared_ptr<const FusionPlan> plan(const std::vector<int32_t>& lengths, int64_t n,
                                                       DType dtype) const;
  /// v [B,n,d], `plan` of its lengths: f [B,n,d], zero rows past each length. An observer sees each scale's
  /// fused rows [B,n_s,d] as what blocks.s gives back.
  [[nodiscard]] Variable forward(const Variable& v, const FusionPlan& plan, const nn::Run& run) const;
  [[nodiscard]] Variable forward(const Variable& v, const std::vector<int32_t>& lengths,
                                 const nn::Run& run) const {
    return forward(v, *plan(lengths, v.dim(1), v.dtype()), run);
  }
  void visit(nn::Visitor& visitor) override {
    visitor("blocks", blocks);
    visitor("aggregate", aggregate);
    visitor("norm", norm);
  }

 private:
  // The plan made last, with what it was made for.
  struct Memory {
    std::mutex mutex;
    std::vector<int32_t> lengths;
    int64_t n = 0;
    DType dtype = DType::f32;
    std::shared_ptr<const FusionPlan> plan;
  };
  FusionOptions options_;
  std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
};

/// `dim`: the width of the Transformer's positions, 0 for none.
[[nodiscard]] FusionPlan make_fusion_plan(const std::vector<int32_t>& lengths, int64_t n, int64_t scales,
                                          int64_t dim, DType dtype);

/// Constant matrices [B,rows,columns], f64 or f32, applied with one batched product.
/// Averages pairs: row i of a clip is the mean of its real frames 2i and 2i+1.
[[nodiscard]] Tensor squeeze_matrix(const std::vector<int32_t>& lengths, int64_t columns, DType dtype);
/// Linear interpolation (half-pixel centres, clamped) from `from` real rows to `to` real rows of each clip.
[[nodiscard]] Tensor expand_matrix(const std::vector<int32_t>& from, int64_t columns,
                                   const std::vector<int32_t>& to, int64_t rows, DType dtype);
/// u8 [B,n]: 1 for the first lengths[b] rows.
[[nodiscard]] Tensor valid_mask(const std::vector<int32_t>& lengths, int64_t n);
/// Sinusoidal positions [n,d] (Vaswani et al. 2017, section 3.5).
[[nodiscard]] Tensor sinusoidal_positions(int64_t n, int64_t dim, DType dtype);

}  // namespace clipcap
