// Whether a video track is encrypted: decoders make noise of what they cannot read. Private to clipcap/media.
#pragma once

#include <cstdio>

#include "clipcap/media/ffmpeg.h"

namespace clipcap {

/// What says that the track is encrypted, for a message; nullptr if nothing does. Moves the file's position.
[[nodiscard]] const char* encryption_of(const AVFormatContext& input, const AVStream& stream,
                                        std::FILE* file);

}  // namespace clipcap
