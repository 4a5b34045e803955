// Encodes frames as a video file through FFmpeg's libraries.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "clipcap/media/image.h"

namespace clipcap {

struct VideoWriterOptions {
  int frames_per_second = 12;
  int rotation = 0;  // clockwise degrees that a player has to turn the picture by, as phones store it
  std::array<int, 2> pixel_aspect{1, 1};  // width : height of one pixel
  std::string codec = "mpeg4";      // FFmpeg's name of an encoder that takes yuv420p; mpeg4 is always there
  int b_frames = 0;                 // frames between two others that refer to both
  std::vector<int64_t> timestamps;  // of each frame, in 1/frames_per_second; empty = 0, 1, 2, …
};

/// In the container that the name's ending chooses (.mp4, .mkv, .avi, .mov, .ts, …). All frames of
/// one, even size.
void write_video(const std::filesystem::path& path, const std::vector<Image>& frames,
                 const VideoWriterOptions& options);

}  // namespace clipcap
