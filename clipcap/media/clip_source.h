// The one front door to a clip's frames: a video file, a folder of frames, or a single picture.
#pragma once

#include "clipcap/media/video.h"

namespace clipcap {

/// Gives the sampled frames in order to `sink`; what the input is shows its content, not its name.
/// Returns how many.
int64_t load_clip(const std::filesystem::path& path, const FrameSampling& sampling, const FrameSink& sink);

}  // namespace clipcap
