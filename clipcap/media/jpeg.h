// JPEG pictures through libjpeg, which Pillow uses too: the decoders of other libraries differ from it by a
// few levels in every pixel.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "clipcap/media/image.h"

namespace clipcap {

/// Greyscale, YCbCr, CMYK and YCCK, baseline and progressive. A missing end does not matter where every row
/// is there. InputError beginning with `name` (the file's) when the picture is broken or rows are missing.
[[nodiscard]] Image read_jpeg(std::span<const std::byte> bytes, const std::string& name);

/// Whether pictures of one size follow each other: raw motion JPEG, a clip. Previews within a picture and the
/// further pictures of the Multi-Picture Format do not count.
[[nodiscard]] bool is_motion_jpeg(std::span<const std::byte> bytes);

}  // namespace clipcap
