// Resizing equal to Pillow's Image.resize, byte for byte: separable, antialiased when shrinking.
#pragma once

#include "clipcap/media/image.h"

namespace clipcap {

enum class ResizeFilter { nearest, bilinear, bicubic };

/// A rectangle of a resized picture.
struct ResizeWindow {
  int64_t left = 0;
  int64_t top = 0;
  int64_t width = 0;
  int64_t height = 0;
};

/// The window of `image` resized to width x height; nothing outside it is computed. Only `rgb` is looked at:
/// 22-bit fixed-point weights, each of the two passes rounded to u8.
[[nodiscard]] Image resize_window(const Image& image, int64_t width, int64_t height,
                                  const ResizeWindow& window, ResizeFilter filter);
[[nodiscard]] Image resize(const Image& image, int64_t width, int64_t height, ResizeFilter filter);

/// The same of `grey16` alone: floating-point weights, each pass rounded to u16.
[[nodiscard]] Image resize_grey16_window(const Image& image, int64_t width, int64_t height,
                                         const ResizeWindow& window, ResizeFilter filter);

/// Short side to `side` (long side truncated, as torchvision) and the central crop x crop pixels of that, in
/// the picture's own mode: palettes are picked from, alpha weighs the colours, 16 bits stay 16 bits, inks
/// stay inks. Gives RGB.
[[nodiscard]] Image resize_and_crop(const Image& image, int64_t side, int64_t crop, ResizeFilter filter);

}  // namespace clipcap
