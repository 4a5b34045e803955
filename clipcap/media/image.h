// Pictures: 8-bit RGB in memory, from JPEG (libjpeg), PNG and BMP files (stb_image).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clipcap {

/// How a picture's pixels want to be resized. Pillow resizes in the picture's own mode and converts to RGB
/// afterwards, so CLIP's preprocessing (encoders/preprocess.h) needs to know it.
enum class PixelMode : uint8_t {
  rgb,      // each channel on its own; greyscale is three equal channels
  indexed,  // a palette or two levels: pixels are picked, never mixed
  alpha,    // mixed in proportion to their alpha
  grey16,   // 16 bits a pixel, mixed as such
  ink       // CMYK: mixed before it becomes light
};

struct Image {
  int64_t width = 0;         // pixels
  int64_t height = 0;        // pixels
  std::vector<uint8_t> rgb;  // [H,W,3], whatever the mode; alpha dropped
  PixelMode mode = PixelMode::rgb;
  std::vector<uint8_t> alpha{};    // [H,W] with PixelMode::alpha
  std::vector<uint8_t> ink{};      // [H,W,4] with PixelMode::ink: cyan, magenta, yellow, black
  std::vector<uint16_t> grey16{};  // [H,W] with PixelMode::grey16
};

/// Whether the file begins like a still picture (JPEG, PNG or BMP).
[[nodiscard]] bool is_picture(const std::filesystem::path& path);

/// Decodes a picture as Pillow opens it. `rgb` is what its convert("RGB") gives: alpha is dropped, of 16 bits
/// a channel the upper 8 are kept, but 16-bit greyscale saturates at 255; EXIF orientation is not applied. At
/// most 16384 pixels a side and 256 MB a file. Throws InputError naming the file.
[[nodiscard]] Image read_picture(const std::filesystem::path& path);

/// RGB of four inks, as Pillow converts it.
[[nodiscard]] std::vector<uint8_t> rgb_of_ink(const std::vector<uint8_t>& ink);

/// The pictures of a folder in natural order (frame2 before frame10). InputError if there are none.
[[nodiscard]] std::vector<std::filesystem::path> list_frame_folder(const std::filesystem::path& folder);

}  // namespace clipcap
