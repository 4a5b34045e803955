// BMP pictures as Pillow opens them. Private to clipcap/media.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "clipcap/media/image.h"

namespace clipcap {

/// Windows' and OS/2's headers of 12, 40, 52, 56, 64, 108 and 124 bytes; 1, 4, 8, 16, 24 and 32 bits,
/// run-length encoded ones of 4 and 8, and the bit masks that Pillow knows; rows from the bottom or the top.
/// InputError beginning with `name` for others, and where rows are missing.
[[nodiscard]] Image read_bmp(std::span<const std::byte> bytes, const std::string& name);

}  // namespace clipcap
