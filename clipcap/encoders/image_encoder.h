// What turns frames into features (E_I, eq. 1): a ViT (towers.h) or a ResNet (resnet.h).
#pragma once

#include <memory>

#include "clipcap/encoders/preprocess.h"
#include "nn/module.h"

namespace clipcap {

class ImageEncoder : public nn::Module {
 public:
  /// Preprocessed frames [N,3,R,R] f32 to features [N,d_v].
  [[nodiscard]] virtual Variable forward(const Variable& frames, const nn::Run& run) const = 0;
  [[nodiscard]] virtual int64_t resolution() const = 0;   // R, pixels
  [[nodiscard]] virtual int64_t feature_dim() const = 0;  // d_v

  /// False: forward() records no history, so the encoder can only be used frozen.
  [[nodiscard]] virtual bool trainable() const { return true; }

  /// False: there is no encoder behind it, only the size of its features (FeaturesOnly).
  [[nodiscard]] virtual bool encodes() const { return true; }

  /// What makes `frames` of pictures.
  [[nodiscard]] virtual Preprocessing preprocessing() const { return clip_preprocessing(resolution()); }

  /// The same without history, a few frames at a time, so that activations stay small: [N,d_v].
  [[nodiscard]] Tensor encode(const Tensor& frames) const;
};

/// Stands where features come ready-made: it has their size and nothing else.
class FeaturesOnly : public ImageEncoder {
 public:
  explicit FeaturesOnly(int64_t feature_dim) : feature_dim_(feature_dim) {}
  [[nodiscard]] Variable forward(const Variable& frames, const nn::Run& run) const override;
  [[nodiscard]] int64_t resolution() const override { return 0; }
  [[nodiscard]] int64_t feature_dim() const override { return feature_dim_; }
  [[nodiscard]] bool trainable() const override { return false; }
  [[nodiscard]] bool encodes() const override { return false; }
  void visit(nn::Visitor&) override {}

 private:
  int64_t feature_dim_;
};

}  // namespace clipcap
