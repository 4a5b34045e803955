// Sizes of the encoders: what a configuration says and what a checkpoint's own shapes say.
#pragma once

#include <array>
#include <cstdint>

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

}  // namespace clipcap
