#include "clipcap/data/media_files.h"

#include <algorithm>
#include <set>

#include "tensor/check.h"

namespace clipcap {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 3;
constexpr size_t kAmbiguous = ~size_t{0};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

bool is_picture_ending(std::string_view ending) {
  const std::string name = lower(ending);
  return name == ".jpg" || name == ".jpeg" || name == ".png" || name == ".webp" || name == ".bmp";
}

// File names come from elsewhere: they may not lead out of the folder.
bool stays_inside(const fs::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  return std::none_of(name.begin(), name.end(), [](const fs::path& part) { return part == ".."; });
}

struct Entry {
  std::string name;
  bool is_folder = false;
};

std::vector<Entry> entries_of(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  for (auto at = fs::directory_iterator(folder, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    std::error_code ignored;
    std::string name = at->path().filename().string();
    if (name.empty() || name.front() == '.') continue;
    entries.push_back({std::move(name), at->is_directory(ignored)});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

class Finder {
 public:
  Finder(const fs::path& folder, Dataset& dataset, const std::unordered_map<std::string, std::string>& names)
      : folder_(folder), dataset_(dataset) {
    for (size_t c = 0; c < dataset.clips.size(); ++c) {
      const Dataset::Clip& clip = dataset.clips[c];
      const auto named = names.find(clip.video_id);
      if (named != names.end()) {
        CHECK_INPUT(stays_inside(named->second), folder.string(), ": clip ", clip.video_id, ": file \"",
                    named->second, "\" leads out of the folder");
        if (take_named(c, named->second)) continue;
      }
      ++wanted_;
      const std::string& key = named != names.end() ? named->second : clip.video_id;
      const auto [exact, fresh] = exact_.try_emplace(key, c);
      if (!fresh) exact->second = kAmbiguous;
      const auto [plain, first] = plain_.try_emplace(plain_id(key), c);
      if (!first) plain->second = kAmbiguous;
    }
  }

  std::string find() {
    for (const char* place : {"", "videos", "frames", "features", "TrainValVideo", "TestVideo", "videos/all"})
      look_in(*place == '\0' ? folder_ : folder_ / place, true);
    if (wanted_ > 0) walk(folder_, 1);
    return places_;
  }

 private:
  bool take_named(size_t clip, const std::string& name) {
    for (const fs::path& place : {folder_, folder_ / "videos"}) {
      std::error_code error;
      if (!fs::exists(place / name, error)) continue;
      take(clip, place, name);
      return true;
    }
    return false;
  }

  void take(size_t c, const fs::path& place, const std::string& name) {
    if (dataset_.folders.empty() || dataset_.folders.back() != place) {
      const auto known = std::find(dataset_.folders.begin(), dataset_.folders.end(), place);
      if (known == dataset_.folders.end()) {
        dataset_.folders.push_back(place);
      } else if (known + 1 != dataset_.folders.end()) {
        dataset_.clips[c].folder = static_cast<uint32_t>(known - dataset_.folders.begin());
        dataset_.clips[c].file = name;
        return;
      }
    }
    dataset_.clips[c].folder = static_cast<uint32_t>(dataset_.folders.size() - 1);
    dataset_.clips[c].file = name;
  }

  // Entries come in alphabetical order; the clip that an entry is of, by its very name or by what names of one
  // clip have in common.
  void look_in(const fs::path& place, bool pictures) {
    std::error_code error;
    if (!fs::is_directory(place, error) || !visited_.insert(place.lexically_normal().string()).second) return;
    const std::string shown = place.lexically_relative(folder_).string();
    places_ += (places_.empty() ? "" : ", ") + (shown == "." ? folder_.string() : shown + "/");
    std::vector<Entry> entries = entries_of(place);
    for (const bool by_name : {true, false}) {
      for (const Entry& entry : entries) {
        const size_t dot = entry.is_folder ? std::string::npos : entry.name.rfind('.');
        const std::string_view ending =
            dot == std::string::npos ? std::string_view() : std::string_view(entry.name).substr(dot);
        if (!entry.is_folder && (!is_media_ending(ending) || (!pictures && is_picture_ending(ending))))
          continue;
        size_t clip = kAmbiguous;
        if (by_name) {
          for (const std::string& name : {entry.name, entry.name.substr(0, dot)}) {
            const auto found = exact_.find(name);
            if (found != exact_.end() && clip == kAmbiguous) clip = found->second;
          }
        } else {
          const auto found = plain_.find(plain_id(entry.name));
          if (found != plain_.end()) clip = found->second;
        }
        if (clip == kAmbiguous || dataset_.clips[clip].folder != Dataset::kNowhere) continue;
        take(clip, place, entry.name);
        --wanted_;
      }
    }
  }

  void walk(const fs::path& place, int depth) {
    for (const Entry& entry : entries_of(place)) {
      if (wanted_ == 0) return;
      if (!entry.is_folder || entry.name.ends_with(".partial")) continue;
      // A clip's own frames are no place for other clips.
      if (exact_.contains(entry.name) || plain_.contains(plain_id(entry.name))) continue;
      look_in(place / entry.name, false);
      if (depth < kDeepest) walk(place / entry.name, depth + 1);
    }
  }

  const fs::path& folder_;
  Dataset& dataset_;
  std::unordered_map<std::string, size_t> exact_;
  std::unordered_map<std::string, size_t> plain_;
  std::set<std::string> visited_;
  size_t wanted_ = 0;
  std::string places_;
};

}  // namespace

bool is_media_ending(std::string_view ending) {
  static const std::set<std::string, std::less<>> endings{
      ".mp4", ".avi", ".mkv", ".webm", ".mov",  ".gif", ".m4v",  ".mpg",   ".mpeg", ".ts",   ".flv", ".wmv",
      ".ogv", ".3gp", ".npy", ".jpg",  ".jpeg", ".png", ".m2ts", ".mjpeg", ".apng", ".webp", ".bmp"};
  return endings.contains(lower(ending));
}

std::string find_media(const fs::path& folder, Dataset& dataset,
                       const std::unordered_map<std::string, std::string>& names) {
  return Finder(folder, dataset, names).find();
}

}  // namespace clipcap
