// Encodes frames as a video file through FFmpeg's libraries.
#pragma once

#include <filesystem>
#include <vector>

#include "clipcap/data/image.h"

namespace clipcap {

struct VideoWriterOptions {
  int frames_per_second = 12;
  int rotation = 0;                 // clockwise degrees that a player has to turn the picture by, as phones store it
  std::vector<int64_t> timestamps;  // of each frame in 1/frames_per_second; empty = 0, 1, 2, … (a constant rate)
};

/// MPEG-4 part 2 in the container that the name's ending chooses (.mp4, .mkv, .avi, .mov). All frames of one, even size.
void write_video(const std::filesystem::path& path, const std::vector<Image>& frames, const VideoWriterOptions& options);

}  // namespace clipcap
