// WebP through libwebp, which Pillow uses too: other decoders interpolate colours in another way. Private to
// clipcap/media.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "clipcap/media/frame_source.h"
#include "clipcap/media/image.h"

namespace clipcap {

/// Lossy and lossless, with and without alpha; of an animation the first frame. InputError beginning with
/// `name` when the picture is broken or ends too early.
[[nodiscard]] Image read_webp(std::span<const std::byte> bytes, const std::string& name);

/// Whether it is an animation of more than one frame.
[[nodiscard]] bool is_animated_webp(std::span<const std::byte> bytes);

/// The animation of a file as a film: whole frames, alpha dropped.
[[nodiscard]] std::unique_ptr<FrameSource> open_webp_animation(const std::filesystem::path& path);

}  // namespace clipcap
