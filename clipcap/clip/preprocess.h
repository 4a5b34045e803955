// CLIP's image preprocessing, equal to Pillow's and torchvision's: bicubic resize of the short side with
// antialiasing, centre crop, scale to [0,1], mean and deviation of CLIP's training data.
#pragma once

#include <span>

#include "clipcap/data/image.h"

namespace clipcap {

enum class ResizeFilter { bilinear, bicubic };

/// Pillow's Image.resize: separable, antialiased when shrinking, 22-bit fixed-point weights, each pass
/// rounded to u8.
[[nodiscard]] Image resize(const Image& image, int64_t width, int64_t height, ResizeFilter filter);

/// Short side to `side` (long side truncated, as torchvision), then the central side x side pixels.
[[nodiscard]] Image resize_and_crop(const Image& image, int64_t side, ResizeFilter filter);

/// The whole of CLIP's preprocessing into `pixels` [3,side,side].
void clip_preprocess(const Image& image, int64_t side, std::span<float> pixels);

}  // namespace clipcap
