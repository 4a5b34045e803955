#include "clipcap/data/splits.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMostBytes = 1U << 30U;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

std::vector<std::string> separated(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    std::string part = text.substr(begin, end - begin);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    if (!part.empty()) parts.push_back(part);
    begin = end + 1;
  }
  return parts;
}

// The split that a list's name speaks of; empty: none.
std::string split_of_name(const std::string& name) {
  const std::string plain = lower(name);
  for (const char* split : {"train", "val", "test"}) {
    if (plain.find(split) != std::string::npos) return split_name(split);
  }
  return {};
}

// Fields of one line of a CSV file; quoted ones may hold commas, line ends and doubled quotes.
std::vector<std::string> csv_fields(std::string_view text, size_t& at) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        fields.back() += text[++at];
      } else {
        quoted = false;
      }
    } else if (c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++at;
      break;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  return fields;
}

struct CsvList {
  fs::path path;
  std::string split;
  std::vector<std::string> ids;
};

// Nothing when the file is no list of clips: neither a column "video_id" nor one column only.
std::optional<CsvList> read_csv(const fs::path& path) {
  const std::string text = read_text_file(path, kMostBytes);
  CsvList list{path, split_of_name(path.filename().string()), {}};
  size_t column = 0;
  size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  bool first = true;
  size_t columns = 0;
  while (at < text.size()) {
    std::vector<std::string> fields = csv_fields(text, at);
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (first) {
      first = false;
      columns = fields.size();
      const auto named = std::find(fields.begin(), fields.end(), "video_id");
      if (named != fields.end()) {
        column = static_cast<size_t>(named - fields.begin());
        continue;
      }
      if (columns != 1) return std::nullopt;
    }
    CHECK_INPUT(fields.size() > column, path.string(), ": line ",
                1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at) - 1, '\n'), ": ",
                fields.size(), " fields, expected the column video_id");
    list.ids.push_back(std::move(fields[column]));
  }
  return list;
}

class Chooser {
 public:
  Chooser(const fs::path& folder, bool has_own, const ClipIndex& index, Dataset& dataset)
      : folder_(folder), has_own_(has_own), index_(index), dataset_(dataset) {}

  // Whether the source is there; then it was taken.
  bool take(const std::string& source) {
    if (source == "own") return true;
    if (source == "v2c") return take_v2c();
    if (source == "9k" || source == "7k")
      return take_files({"MSRVTT_train." + source + ".csv", "MSRVTT_JSFUSION_test.csv"});
    if (source == "auto") return take_found() || has_own_ || take_v2c() || true;
    return take_files(separated(source, '+'));
  }

 private:
  uint32_t number_of(const std::string& split) {
    const auto found = std::find(dataset_.splits.begin(), dataset_.splits.end(), split);
    if (found != dataset_.splits.end()) return static_cast<uint32_t>(found - dataset_.splits.begin());
    dataset_.splits.push_back(split);
    return static_cast<uint32_t>(dataset_.splits.size() - 1);
  }

  bool take_files(const std::vector<std::string>& names) {
    std::vector<CsvList> lists;
    for (const std::string& name : names) {
      const fs::path path = entry_named(name);
      if (path.empty()) return false;
      std::optional<CsvList> list = read_csv(path);
      CHECK_INPUT(list, path.string(), ": expected a column \"video_id\", or one id a line");
      CHECK_INPUT(!list->split.empty(), path.string(),
                  ": which split is it? Its name says neither train, val nor test");
      lists.push_back(std::move(*list));
    }
    if (lists.empty()) return false;
    take_lists(lists);
    return true;
  }

  // The folder's own lists, unless they leave a choice.
  bool take_found() {
    std::vector<CsvList> lists;
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      if (lower(entry.path().extension().string()) == ".csv") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::map<std::string, std::string> by_split;
    std::string twice;
    for (const fs::path& file : files) {
      if (split_of_name(file.filename().string()).empty()) continue;
      std::optional<CsvList> list = read_csv(file);
      if (!list) continue;
      std::string& names = by_split[list->split];
      if (!names.empty()) twice = list->split;
      names += (names.empty() ? "" : ", ") + file.filename().string();
      lists.push_back(std::move(*list));
    }
    if (lists.empty()) return false;
    if (!twice.empty()) {
      dataset_.notes.push_back(concat_text("splits: ", by_split[twice], " are all for ", twice,
                                           ", so none is used (data.splits=9k or 7k, or names joined by +)"));
      return false;
    }
    if (!by_split.contains("train")) {
      dataset_.notes.push_back(concat_text("splits: ", by_split.begin()->second,
                                           " has no list for training beside it and is not used"));
      return false;
    }
    take_lists(lists);
    return true;
  }

  void take_lists(const std::vector<CsvList>& lists) {
    for (Dataset::Clip& clip : dataset_.clips) clip.split = 0;
    dataset_.split_source.clear();
    std::vector<uint32_t> list_of(dataset_.clips.size(), 0);
    uint32_t number = 0;
    for (const CsvList& list : lists) {
      ++number;
      size_t absent = 0;
      size_t found = 0;
      std::string example;
      const uint32_t split = number_of(list.split);
      for (const std::string& id : list.ids) {
        const std::optional<size_t> clip = index_.find(id);
        if (!clip) {
          if (absent++ == 0) example = id.substr(0, 60);
          continue;
        }
        ++found;
        CHECK_INPUT(list_of[*clip] == 0 || list_of[*clip] == number, list.path.string(), ": clip ",
                    dataset_.clips[*clip].video_id, " is in ",
                    lists[list_of[*clip] - 1].path.filename().string(), " too");
        list_of[*clip] = number;
        dataset_.clips[*clip].split = split;
      }
      CHECK_INPUT(found > 0, list.path.string(), ": ", list.ids.size(),
                  " ids, none of a clip of the annotations (\"", example, "\" …)");
      if (absent > 0) {
        dataset_.notes.push_back(concat_text(list.path.string(), ": ", absent, " of ", list.ids.size(),
                                             " ids are of clips without annotations here (", example,
                                             absent > 1 ? ", …)" : ")"));
      }
      dataset_.split_source += (dataset_.split_source.empty() ? "" : " and ") + list.path.filename().string();
    }
  }

  // "videos": {"train": [0, 1], "val": [], "test": [2]} of a V2C info file, whose numbers may be strings.
  bool take_v2c() {
    fs::path path = entry_named("v2c_info.json");
    const bool own = !path.empty();
    if (!own) path = entry_named("msrvtt_new_info.json");
    if (path.empty()) return false;
    const std::string name = path.string();
    const json root = parse_json(read_text_file(path, kMostBytes), name);
    CHECK_INPUT(root.is_object() && root.contains("videos"), name, ": \"videos\" is missing");
    const json& videos = root["videos"];
    CHECK_INPUT(videos.is_object(), name, ": videos: expected an object, found ", videos.type_name());
    for (Dataset::Clip& clip : dataset_.clips) clip.split = 0;
    for (const char* key : {"train", "val", "test"}) {
      if (!videos.contains(key)) continue;
      const json& list = videos[key];
      CHECK_INPUT(list.is_array(), name, ": videos.", key, ": expected a list, found ", list.type_name());
      const uint32_t split = number_of(split_name(key));
      for (size_t i = 0; i < list.size(); ++i) {
        const bool number = list[i].is_number_unsigned();
        CHECK_INPUT(number || list[i].is_string(), name, ": videos.", key, "[", i,
                    "]: expected the number of a video, found ", list[i].type_name());
        const std::string id = number ? std::to_string(list[i].get<uint64_t>()) : list[i].get<std::string>();
        const std::optional<size_t> clip = index_.find(id);  // "5" finds "video5"
        if (!clip) continue;                                 // a clip without annotations here
        Dataset::Clip& chosen = dataset_.clips[*clip];
        if (chosen.split == 0) chosen.split = split;
      }
    }
    // msrvtt_new_info.json lists all clips of MSR-VTT; V2C's are those of them that have commonsense.
    if (!own && !dataset_.commonsense.empty()) {
      for (Dataset::Clip& clip : dataset_.clips) {
        const auto captions = dataset_.captions_of(clip);
        const bool some = std::any_of(captions.begin(), captions.end(), [](const Dataset::Rows& caption) {
          return std::any_of(caption.count.begin(), caption.count.end(), [](uint32_t n) { return n > 0; });
        });
        if (!some) clip.split = 0;
      }
    }
    dataset_.split_source = path.filename().string();
    return true;
  }

  // A file of that name, letter case aside; empty when there is none.
  [[nodiscard]] fs::path entry_named(const std::string& name) const {
    std::error_code error;
    if (fs::exists(folder_ / name, error)) return folder_ / name;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      if (lower(entry.path().filename().string()) == lower(name)) return entry.path();
    }
    return {};
  }

  const fs::path& folder_;
  bool has_own_;
  const ClipIndex& index_;
  Dataset& dataset_;
};

}  // namespace

void choose_splits(const fs::path& folder, const std::string& sources, bool has_own, const ClipIndex& index,
                   Dataset& dataset) {
  Chooser chooser(folder, has_own, index, dataset);
  for (const std::string& source : separated(sources, ',')) {
    if (chooser.take(source)) return;
  }
  fail_input(folder.string(), ": data.splits: ", sources,
             ": no such list in this folder (own, v2c, 9k, 7k, or CSV files' names joined by +",
             sources.find("v2c") != std::string::npos ? "; V2C's is v2c_info.json)" : ")");
}

}  // namespace clipcap
