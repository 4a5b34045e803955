// From a picture to an encoder's input, equal to Pillow's and torchvision's: resize of the short side, centre
// crop, RGB, scale to [0,1], mean and deviation.
#pragma once

#include <array>
#include <span>

#include "clipcap/media/resize.h"

namespace clipcap {

struct Preprocessing {
  int64_t resize = 224;  // pixels of the short side
  int64_t crop = 224;    // pixels a side, at most `resize`
  ResizeFilter filter = ResizeFilter::bicubic;
  /// CLIP's transform resizes pictures as they are in their file and converts to RGB last; ImageNet's readers
  /// convert first.
  bool own_mode = true;
  std::array<float, 3> mean{};
  std::array<float, 3> deviation{};
};

/// CLIP's (openai/CLIP, clip.py: _transform).
[[nodiscard]] Preprocessing clip_preprocessing(int64_t side);
/// torchvision's for ImageNet classifiers: short side to side * 256 / 224, bilinear.
[[nodiscard]] Preprocessing imagenet_preprocessing(int64_t side);

/// `pixels` [3,crop,crop].
void preprocess(const Image& image, const Preprocessing& preprocessing, std::span<float> pixels);

}  // namespace clipcap
