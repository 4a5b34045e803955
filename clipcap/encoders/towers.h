// CLIP's two towers (Radford et al. 2021): a ViT over patches and a causal Transformer over tokens, both
// pre-LN with QuickGELU, both ending in a projection into the joint space.
#pragma once

#include <vector>

#include "clipcap/config/geometry.h"
#include "clipcap/encoders/image_encoder.h"
#include "nn/transformer.h"

namespace clipcap {

class VisionTower : public ImageEncoder {
 public:
  Variable class_embedding;     // [width]
  Variable position_embedding;  // [1 + G*G, width], G = resolution / patch
  nn::Linear patch_embedding;   // [width, 3*patch*patch], a convolution with stride = patch
  nn::LayerNorm norm_before;
  std::vector<nn::EncoderLayer> layers;
  nn::LayerNorm norm_after;
  nn::Linear projection;  // [embed, width], no bias

  VisionTower(const VitGeometry& geometry, Activation activation, Generator& generator);
  [[nodiscard]] Variable forward(const Variable& frames, const nn::Run& run) const override;
  [[nodiscard]] int64_t resolution() const override { return geometry_.resolution; }
  [[nodiscard]] int64_t feature_dim() const override { return geometry_.embed; }
  void visit(nn::Visitor& visitor) override;

 private:
  VitGeometry geometry_;
};

class TextTower : public nn::Module {
 public:
  nn::Embedding token_embedding;  // [vocab, width]
  Variable position_embedding;    // [context, width]
  std::vector<nn::EncoderLayer> layers;
  nn::LayerNorm norm_after;
  nn::Linear projection;  // [embed, width], no bias

  TextTower(const TextGeometry& geometry, Activation activation, Generator& generator);
  /// ids i32 [B,L], L <= context; ends[b] is the position of the end-of-text token: its feature, projected
  /// and not normalised, [B,embed] (eq. 5).
  [[nodiscard]] Variable forward(const Tensor& ids, const std::vector<int32_t>& ends,
                                 const nn::Run& run) const;
  /// The projected features of every token, [B,L,embed] (distill.target = "tokens").
  [[nodiscard]] Variable token_features(const Tensor& ids, const nn::Run& run) const;
  void visit(nn::Visitor& visitor) override;
  [[nodiscard]] const TextGeometry& geometry() const { return geometry_; }

 private:
  [[nodiscard]] Variable hidden_states(const Tensor& ids, const nn::Run& run) const;
  TextGeometry geometry_;
};

}  // namespace clipcap
