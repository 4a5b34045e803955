// Pictures: 8-bit RGB in memory, and the JPEG, PNG and BMP files that stb_image decodes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clipcap {

struct Image {
  int64_t width = 0;         // pixels
  int64_t height = 0;        // pixels
  std::vector<uint8_t> rgb;  // [H,W,3]
};

/// Whether the file begins like a still picture (JPEG, PNG or BMP).
[[nodiscard]] bool is_picture(const std::filesystem::path& path);

/// Decodes a picture: grey and palette become RGB, alpha is dropped, of 16 bits the upper 8 are kept, as
/// Pillow's convert("RGB") does; EXIF orientation is not applied. At most 16384 pixels a side and 256 MB a
/// file. Throws InputError naming the file.
[[nodiscard]] Image read_picture(const std::filesystem::path& path);

/// The pictures of a folder in natural order (frame2 before frame10). InputError if there are none.
[[nodiscard]] std::vector<std::filesystem::path> list_frame_folder(const std::filesystem::path& folder);

}  // namespace clipcap
