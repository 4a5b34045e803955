// Pictures: 8-bit RGB in memory, from JPEG (libjpeg), PNG (stb_image), BMP and WebP (libwebp) files.
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

/// Whether the file is a still picture (JPEG, PNG, BMP or WebP) by its content. Raw motion JPEG, APNG and
/// animated WebP are clips.
[[nodiscard]] bool is_picture(const std::filesystem::path& path);

/// Decodes a picture as Pillow opens it. `rgb` is what its convert("RGB") gives: alpha is dropped, of 16 bits
/// a channel the upper 8 are kept, but 16-bit greyscale saturates at 255; EXIF orientation is not applied. Of
/// an animation the first frame. A missing end of the file does not matter where every row is there. At most
/// 65535 pixels a side, 2^27 in all, and 256 MB a file. Throws InputError naming the file and, where it is
/// something else, what it is.
[[nodiscard]] Image read_picture(const std::filesystem::path& path);

/// RGB of four inks, as Pillow converts it.
[[nodiscard]] std::vector<uint8_t> rgb_of_ink(const std::vector<uint8_t>& ink);

/// The pictures of a folder, by their content, in natural order (frame2 before frame10). Hidden files,
/// folders and what other systems leave behind (Thumbs.db, @eaDir, …) are passed over. InputError if there
/// are no pictures, or one of a kind that is not read.
[[nodiscard]] std::vector<std::filesystem::path> list_frame_folder(const std::filesystem::path& folder);

}  // namespace clipcap
