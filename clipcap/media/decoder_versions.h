// Which releases of which libraries turn a clip into pictures: features made with others are other features.
#pragma once

#include <filesystem>
#include <string>

namespace clipcap {

/// Raised whenever the program itself chooses, decodes, turns or preprocesses frames in another way than before.
inline constexpr int kDecodingVersion = 2;

/// What reads this clip (a video, a folder of frames, a picture), for cache keys.
[[nodiscard]] std::string decoder_versions(const std::filesystem::path& clip);

}  // namespace clipcap
