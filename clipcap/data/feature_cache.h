// What is kept between runs: frame features, keyed by the clip's content and by what encoded it, and the
// hashes of large files. Folder: $CLIPCAP_CACHE, else $XDG_CACHE_HOME/clipcap, else ~/.cache/clipcap; without
// any of them nothing is kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace clipcap {

/// SHA-256 of the file (of all its files, for a folder) and of `encoder`.
[[nodiscard]] std::string feature_cache_key(const std::filesystem::path& clip, const std::string& encoder);
/// Features [rows,dim], if they are there and undamaged.
[[nodiscard]] std::optional<std::vector<float>> load_cached_features(const std::string& key, int64_t& rows,
                                                                     int64_t& dim);
/// Best effort: a cache that cannot be written is no error.
void store_cached_features(const std::string& key, const std::vector<float>& values, int64_t rows,
                           int64_t dim);

/// SHA-256 of a file, remembered for as long as its size and its time of change stay the same.
[[nodiscard]] std::string remembered_sha256(const std::filesystem::path& path);

}  // namespace clipcap
