// JPEG pictures through libjpeg, which Pillow uses too: the decoders of other libraries differ from it by a
// few levels in every pixel.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "clipcap/media/image.h"

namespace clipcap {

/// Greyscale, YCbCr, CMYK and YCCK, baseline and progressive. At most 16384 pixels a side. InputError
/// beginning with `name` (the file's) when the picture is broken or ends too early.
[[nodiscard]] Image read_jpeg(std::span<const std::byte> bytes, const std::string& name);

}  // namespace clipcap
