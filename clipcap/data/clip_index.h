// Clips by their ids, as other files write them.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "clipcap/data/dataset.h"

namespace clipcap {

class ClipIndex {
 public:
  /// False when the very same id is there already.
  bool add(const std::string& id, size_t clip) {
    if (!exact_.try_emplace(id, clip).second) return false;
    const std::string plain = plain_id(id);
    if (plain == id) return true;  // the usual case: it needs no second entry
    const auto [at, fresh] = plain_.try_emplace(plain, clip);
    if (!fresh) at->second = kAmbiguous;
    return true;
  }
  /// The clip of that id, or else the only one whose plain_id is the same; `renamed` says which.
  [[nodiscard]] std::optional<size_t> find(const std::string& id, bool* renamed = nullptr) const {
    if (renamed != nullptr) *renamed = false;
    const auto same = exact_.find(id);
    if (same != exact_.end()) return same->second;
    const std::string plain = plain_id(id);
    const auto alike = plain_.find(plain);
    const auto bare = exact_.find(plain);
    if ((alike == plain_.end()) == (bare == exact_.end())) return std::nullopt;  // none, or two
    const size_t clip = bare != exact_.end() ? bare->second : alike->second;
    if (clip == kAmbiguous) return std::nullopt;
    if (renamed != nullptr) *renamed = true;
    return clip;
  }

 private:
  static constexpr size_t kAmbiguous = ~size_t{0};
  std::unordered_map<std::string, size_t> exact_;
  std::unordered_map<std::string, size_t> plain_;  // of ids that are not plain
};

}  // namespace clipcap
