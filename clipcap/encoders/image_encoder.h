// What turns frames into features (E_I, eq. 1): a ViT (clip/towers.h) or a ResNet (clip/resnet.h).
#pragma once

#include <array>
#include <memory>
#include <string>

#include "clipcap/encoders/preprocess.h"
#include "nn/module.h"

namespace clipcap {

/// Geometry of a CLIP ViT (Radford et al. 2021, appendix F).
struct VitGeometry {
  int64_t resolution = 224;  // pixels a side
  int64_t patch = 16;        // pixels a side of a patch
  int64_t width = 768;
  int64_t layers = 12;
  int64_t heads = 12;
  int64_t embed = 512;  // size of the joint image-text space
  int64_t hidden = 0;   // width inside the MLPs; 0: four times the width, as everywhere in the paper
  [[nodiscard]] int64_t mlp_width() const { return hidden > 0 ? hidden : 4 * width; }
};

/// Geometry of a CLIP text tower.
struct TextGeometry {
  int64_t vocab = 49408;
  int64_t context = 77;
  int64_t width = 512;
  int64_t layers = 12;
  int64_t heads = 8;
  int64_t embed = 512;
  int64_t hidden = 0;  // as above
  [[nodiscard]] int64_t mlp_width() const { return hidden > 0 ? hidden : 4 * width; }
};

/// Geometry of a bottleneck ResNet (He et al. 2016, table 1).
struct ResnetGeometry {
  std::array<int64_t, 4> blocks{3, 8, 36, 3};  // of the four stages: ResNet-152; -101: 3,4,23,3; -50: 3,4,6,3
  int64_t width = 64;        // channels of the stem and of the first stage's 3x3 convolutions
  int64_t resolution = 224;  // pixels a side
};

class ImageEncoder : public nn::Module {
 public:
  /// Preprocessed frames [N,3,R,R] f32 to features [N,d_v].
  [[nodiscard]] virtual Variable forward(const Variable& frames, const nn::Run& run) const = 0;
  [[nodiscard]] virtual int64_t resolution() const = 0;   // R, pixels
  [[nodiscard]] virtual int64_t feature_dim() const = 0;  // d_v
  /// Floating-point operations for one frame.
  [[nodiscard]] virtual double flops_per_frame() const = 0;

  /// False: forward() records no history, so the encoder can only be used frozen.
  [[nodiscard]] virtual bool trainable() const { return true; }

  /// What makes `frames` of pictures.
  [[nodiscard]] virtual Preprocessing preprocessing() const { return clip_preprocessing(resolution()); }

  /// The same without history, a few frames at a time, so that activations stay small: [N,d_v].
  [[nodiscard]] Tensor encode(const Tensor& frames) const;
};

}  // namespace clipcap
