// PNG pictures through stb_image, and what their chunks say. Private to clipcap/media.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "clipcap/media/image.h"

namespace clipcap {

/// As Pillow opens it: of an animation, the picture that others show. A file whose end is missing is
/// read where every row is there. InputError beginning with `name` where rows are missing or the
/// picture is broken.
[[nodiscard]] Image read_png(std::span<const std::byte> bytes, const std::string& name);

/// Whether an animation of more than one frame follows (APNG).
[[nodiscard]] bool is_animated_png(std::span<const std::byte> bytes);

}  // namespace clipcap
