#include "clipcap/cache/cache_folder.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "clipcap/cache/sha256.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVariable = "CLIPCAP_CACHE_SIZE";
constexpr const char* kRooms[] = {"features", "hashes"};

fs::path limit_file() { return cache_folder() / "limit"; }

struct Kept {
  fs::path path;
  uint64_t bytes = 0;
  fs::file_time_type used;
};

// Every file that is kept. Never outside the cache's two folders, never through a link.
std::vector<Kept> list_cache() {
  std::vector<Kept> kept;
  const fs::path folder = cache_folder();
  if (folder.empty()) return kept;
  for (const char* room : kRooms) {
    std::error_code error;
    for (auto entry = fs::directory_iterator(folder / room, error);
         !error && entry != fs::directory_iterator(); entry.increment(error)) {
      std::error_code own;
      if (!fs::is_regular_file(entry->symlink_status(own)) || own) continue;
      Kept one{entry->path(), entry->file_size(own), {}};
      if (!own) one.used = entry->last_write_time(own);
      if (!own) kept.push_back(std::move(one));
    }
  }
  return kept;
}

CacheUse use_of(const std::vector<Kept>& kept) {
  CacheUse use;
  for (const Kept& one : kept) {
    ++use.files;
    use.bytes += one.bytes;
  }
  return use;
}

// What this process knows of the cache's size, so that not every file that is added has the whole counted again.
struct Known {
  std::mutex mutex;
  fs::path folder;
  uint64_t bytes = 0;
  int added = 0;  // files since the last count
};
Known& known() {
  static Known instance;
  return instance;
}
constexpr int kCountEvery = 256;  // other processes write too

}  // namespace

fs::path cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? fs::path(value) : fs::path();
  };
  if (!variable("CLIPCAP_CACHE").empty()) return variable("CLIPCAP_CACHE");
  if (!variable("XDG_CACHE_HOME").empty()) return variable("XDG_CACHE_HOME") / "clipcap";
  if (!variable("HOME").empty()) return variable("HOME") / ".cache" / "clipcap";
  return {};
}

std::string remembered_sha256(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  const auto size = fs::file_size(path, error);
  const auto changed = fs::last_write_time(path, error).time_since_epoch().count();
  if (error || cache_folder().empty()) return sha256_of_file(path);
  Sha256 name;
  name.update(whole.string());
  const fs::path note = cache_folder() / "hashes" / name.hex();
  const std::string state = concat_text(size, ' ', changed, ' ');
  try {
    if (fs::exists(note, error)) {
      const std::string found = read_text_file(note, 4096);
      if (found.starts_with(state) && found.size() == state.size() + 64) return found.substr(state.size());
    }
  } catch (const Error&) {  // not readable, a folder, too long: best effort, like the rest of the cache
  }
  const std::string hash = sha256_of_file(path);
  fs::create_directories(note.parent_path(), error);
  try {
    if (!error) write_text_file(note, state + hash);
  } catch (const Error&) {
  }
  return hash;
}

uint64_t parse_size(const std::string& text, const std::string& where) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  double factor = 1;
  std::string unit(rest, end);
  std::erase(unit, ' ');
  for (char& c : unit) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const char* spare : {"ytes", "ib", "b"}) {  // "bytes", "GiB", "GB"
    if (unit.ends_with(spare)) unit.resize(unit.size() - std::string(spare).size());
  }
  bool good = error == std::errc() && std::isfinite(number) && number >= 0;
  for (const char* known_unit : {"", "k", "m", "g", "t"}) {
    if (unit == known_unit) break;
    good = good && std::string(known_unit) != "t";
    factor *= 1024;
  }
  const double bytes = number * factor;
  CHECK_INPUT(good && bytes < 0x1p62, where, ": \"", text.substr(0, 60),
              "\" is no size: expected bytes, or a number with K, M, G or T, as in 20G");
  return static_cast<uint64_t>(bytes);
}

std::string show_size(uint64_t bytes) {
  if (bytes < 1024) return concat_text(bytes, " bytes");
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  char text[64];
  std::snprintf(text, sizeof text, value < 10 ? "%.2g %s" : "%.0f %s", value, unit);
  return text;
}

CacheLimit cache_limit() {
  if (const char* value = std::getenv(kVariable); value != nullptr && *value != '\0')
    return {parse_size(value, kVariable), kVariable};
  std::error_code error;
  if (!cache_folder().empty() && fs::exists(limit_file(), error)) {
    try {
      std::string text = read_text_file(limit_file(), 100);
      while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
      return {parse_size(text, limit_file().string()), limit_file().string()};
    } catch (const Error&) {  // a damaged note is no note
    }
  }
  return {kUsualCacheLimit, "usual"};
}

void set_cache_limit(uint64_t bytes) {
  CHECK_INPUT(!cache_folder().empty(),
              "no folder for a cache: CLIPCAP_CACHE, XDG_CACHE_HOME and HOME are not set");
  std::error_code error;
  fs::create_directories(cache_folder(), error);
  write_text_file(limit_file(), std::to_string(bytes) + "\n");
}

CacheUse measure_cache() { return use_of(list_cache()); }

CacheUse clear_cache() {
  CacheUse gone;
  for (const Kept& one : list_cache()) {
    std::error_code error;
    if (!fs::remove(one.path, error)) continue;
    ++gone.files;
    gone.bytes += one.bytes;
  }
  const std::lock_guard<std::mutex> lock(known().mutex);
  known().folder.clear();
  return gone;
}

void make_room_in_cache(const fs::path& file) {
  Known& state = known();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const fs::path folder = cache_folder();
  std::error_code error;
  const uint64_t limit = cache_limit().bytes;
  if (state.folder == folder && ++state.added < kCountEvery) {
    const auto size = fs::file_size(file, error);
    if (!error) state.bytes += size;
    if (state.bytes <= limit) return;
  }
  std::vector<Kept> kept = list_cache();
  state.folder = folder;
  state.bytes = use_of(kept).bytes;
  state.added = 0;
  if (state.bytes <= limit) return;
  std::sort(kept.begin(), kept.end(), [](const Kept& a, const Kept& b) {
    return a.used != b.used ? a.used < b.used : a.path < b.path;
  });
  const uint64_t enough = limit - limit / 10;
  for (const Kept& one : kept) {
    if (state.bytes <= enough) break;
    if (one.path == file || !fs::remove(one.path, error)) continue;
    state.bytes -= std::min(state.bytes, one.bytes);
  }
}

void touch_in_cache(const fs::path& file) {
  std::error_code ignored;
  fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);
}

}  // namespace clipcap
