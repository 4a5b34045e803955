#include "clipcap/cache/cache_folder.h"

#include <cstdlib>

#include "clipcap/cache/sha256.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {

std::filesystem::path cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? std::filesystem::path(value) : std::filesystem::path();
  };
  if (!variable("CLIPCAP_CACHE").empty()) return variable("CLIPCAP_CACHE");
  if (!variable("XDG_CACHE_HOME").empty()) return variable("XDG_CACHE_HOME") / "clipcap";
  if (!variable("HOME").empty()) return variable("HOME") / ".cache" / "clipcap";
  return {};
}

std::string remembered_sha256(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::canonical(path, error);
  const auto size = std::filesystem::file_size(path, error);
  const auto changed = std::filesystem::last_write_time(path, error).time_since_epoch().count();
  if (error || cache_folder().empty()) return sha256_of_file(path);
  Sha256 name;
  name.update(whole.string());
  const std::filesystem::path note = cache_folder() / "hashes" / name.hex();
  const std::string state = concat_text(size, ' ', changed, ' ');
  if (std::filesystem::exists(note, error)) {
    const std::string known = read_text_file(note, 4096);
    if (known.starts_with(state) && known.size() == state.size() + 64) return known.substr(state.size());
  }
  const std::string hash = sha256_of_file(path);
  std::filesystem::create_directories(note.parent_path(), error);
  try {
    if (!error) write_text_file(note, state + hash);
  } catch (const Error&) {  // best effort, like the rest of the cache
  }
  return hash;
}

}  // namespace clipcap
