// Writes pictures as PNG files (stb_image_write).
#pragma once

#include <filesystem>

#include "clipcap/media/image.h"

namespace clipcap {

/// Throws Error naming the file when it cannot be written.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace clipcap
