// What is kept between runs and where: the hashes of large files here, features in data/feature_cache.h. All of it can
// be made again, so nothing that goes wrong with it is an error, and together it stays below a limit: the files used
// longest ago make room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace clipcap {

/// $CLIPCAP_CACHE, else $XDG_CACHE_HOME/clipcap, else ~/.cache/clipcap; empty without any of them: then
/// nothing is kept.
[[nodiscard]] std::filesystem::path cache_folder();

/// SHA-256 of a file, remembered for as long as its size and its time of change stay the same.
[[nodiscard]] std::string remembered_sha256(const std::filesystem::path& path);

inline constexpr uint64_t kUsualCacheLimit = 20ULL << 30U;

/// How many bytes the cache may hold, and who says so.
struct CacheLimit {
  uint64_t bytes = kUsualCacheLimit;
  std::string source;  // "CLIPCAP_CACHE_SIZE", the path of the cache's own file, "usual"
};
/// $CLIPCAP_CACHE_SIZE, else what `clipcap cache --limit` wrote, else 20 GiB. InputError when the variable is no size.
[[nodiscard]] CacheLimit cache_limit();
/// Writes the limit into the cache's folder.
void set_cache_limit(uint64_t bytes);
/// "20G", "1.5T", "500M", "4096", "0": powers of 1024. InputError that begins with `where`.
[[nodiscard]] uint64_t parse_size(const std::string& text, const std::string& where);
/// "1.5 GiB", "12 bytes".
[[nodiscard]] std::string show_size(uint64_t bytes);

struct CacheUse {
  uint64_t files = 0;
  uint64_t bytes = 0;
};
[[nodiscard]] CacheUse measure_cache();
/// Removes everything that is kept; says how much that was.
CacheUse clear_cache();

/// To be called after `file` was written into the cache: when the whole is over the limit, the files used longest ago
/// go until a tenth of it is free again, never `file` itself.
void make_room_in_cache(const std::filesystem::path& file);
/// A file of the cache was used: it goes later.
void touch_in_cache(const std::filesystem::path& file);

}  // namespace clipcap
