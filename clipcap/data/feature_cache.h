// Frame features kept between runs, keyed by the clip's content and by what encoded it, in the cache's folder
// (cache/cache_folder.h).
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

}  // namespace clipcap
