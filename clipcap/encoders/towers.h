// CLIP's two towers (Radford et al. 2021): a ViT over patches and a causal Transformer over tokens, both
// pre-LN with QuickGELU, both ending in a projection into the joint space; and what later CLIPs do otherwise
// (tower_settings.h).
#pragma once

#include <span>
#include <vector>

#include "clipcap/config/geometry.h"
#include "clipcap/encoders/image_encoder.h"
#include "clipcap/encoders/tower_settings.h"
#include "clipcap/text/tokenizer.h"
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
  nn::Linear projection;  // [embed, width], no bias; unused without settings.projection

  VisionTower(const VitGeometry& geometry, const VisionSettings& settings, Generator& generator);
  [[nodiscard]] Variable forward(const Variable& frames, const nn::Run& run) const override;
  [[nodiscard]] int64_t resolution() const override { return geometry_.resolution; }
  [[nodiscard]] int64_t feature_dim() const override { return geometry_.embed; }
  [[nodiscard]] Preprocessing preprocessing() const override { return settings_.preprocessing(resolution()); }
  [[nodiscard]] const VitGeometry& geometry() const { return geometry_; }
  [[nodiscard]] const VisionSettings& settings() const { return settings_; }
  void visit(nn::Visitor& visitor) override;

 private:
  VitGeometry geometry_;
  VisionSettings settings_;
};

class TextTower : public nn::Module {
 public:
  nn::Embedding token_embedding;  // [vocab, width]
  Variable position_embedding;    // [context, width]
  std::vector<nn::EncoderLayer> layers;
  nn::LayerNorm norm_after;
  nn::Linear projection;  // [embed, width]; unused without settings.projection

  TextTower(const TextGeometry& geometry, const TextSettings& settings, Generator& generator);
  /// ids i32 [B,L], L <= context; positions[b] is where row b pools, the end-of-text token as a rule (reading()):
  /// its feature, projected and not normalised, [B,embed] (eq. 5).
  [[nodiscard]] Variable forward(const Tensor& ids, const std::vector<int32_t>& positions,
                                 const nn::Run& run) const;
  /// How much of a padded row of ids the tower reads, and where it pools. `end`: the position of the end token. A
  /// causal tower never sees what stands behind its position.
  struct Reading {
    int64_t length = 0;
    int32_t position = 0;
  };
  [[nodiscard]] Reading reading(int64_t row_length, int32_t end) const;
  /// InputError when the tower has no such token: one that was added to its tokenizer alone. `text` begins the message.
  void check_ids(std::span<const int32_t> ids, const std::string& text) const;
  /// The projected features of every token, [B,L,embed] (distill.target = "tokens").
  [[nodiscard]] Variable token_features(const Tensor& ids, const nn::Run& run) const;
  void visit(nn::Visitor& visitor) override;
  [[nodiscard]] const TextGeometry& geometry() const { return geometry_; }
  [[nodiscard]] const TextSettings& settings() const { return settings_; }

 private:
  [[nodiscard]] Variable hidden_states(const Tensor& ids, const nn::Run& run) const;
  [[nodiscard]] Variable projected(const Variable& x, const nn::Run& run) const;
  TextGeometry geometry_;
  TextSettings settings_;
};

/// InputError when a tokenizer is not the tower's: another number of tokens (but for such as were only added to it), or
/// another end token than the one at which the tower pools.
void check_tokenizer(const TextTower& tower, const ClipTokenizer& tokenizer,
                     const std::string& tokenizer_name, const std::string& tower_name);

}  // namespace clipcap
