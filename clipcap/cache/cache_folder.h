// What is kept between runs and where: the hashes of large files here, features in data/feature_cache.h.
#pragma once

#include <filesystem>
#include <string>

namespace clipcap {

/// $CLIPCAP_CACHE, else $XDG_CACHE_HOME/clipcap, else ~/.cache/clipcap; empty without any of them: then
/// nothing is kept.
[[nodiscard]] std::filesystem::path cache_folder();

/// SHA-256 of a file, remembered for as long as its size and its time of change stay the same.
[[nodiscard]] std::string remembered_sha256(const std::filesystem::path& path);

}  // namespace clipcap
