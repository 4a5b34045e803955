// A small data set drawn by the program itself, so that training can be tried without any data: coloured
// shapes that move, grow, blink and circle, encoded as real video files, with captions and commonsense lines.
#pragma once

#include <filesystem>

namespace clipcap {

/// Writes folder/videos/videoN.mp4, videodatainfo.json, V2C_caption.json and v2c_info.json. One seed, one
/// data set.
void write_drawn_clips(const std::filesystem::path& folder, int clips, uint64_t seed);

}  // namespace clipcap
