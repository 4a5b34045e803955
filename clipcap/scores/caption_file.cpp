#include "clipcap/scores/caption_file.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr size_t kMostFileBytes = 512U << 20U;
constexpr size_t kMostCaptionBytes = 20000;

// A file being read.
class Reader {
 public:
  explicit Reader(std::string name) { file_.name = std::move(name); }

  // An entry for `id`, without captions yet where it is new.
  CaptionedId& entry(const json& id, const std::string& where) {
    CaptionedId fresh;
    if (id.is_string()) {
      fresh.id = id.get<std::string>();
    } else if (id.is_number_integer()) {
      fresh.id = id.dump();
      fresh.id_is_number = true;
    } else if (id.is_number_float() && std::floor(id.get<double>()) == id.get<double>() &&
               std::abs(id.get<double>()) < 9e15) {  // 7010.0, as some spreadsheets write numbers
      fresh.id = std::to_string(id.get<int64_t>());
      fresh.id_is_number = true;
    } else {
      fail_input(where, ": expected an id (a number or a string), found ", shown(id));
    }
    const auto [found, is_new] = places_.try_emplace(fresh.id, file_.entries.size());
    if (is_new) file_.entries.push_back(std::move(fresh));
    return file_.entries[found->second];
  }

  void caption(CaptionedId& entry, const json& value, const std::string& where) const {
    CHECK_INPUT(value.is_string(), where, ": expected a caption, found ", shown(value));
    std::string text = value.get<std::string>();
    CHECK_INPUT(text.size() <= kMostCaptionBytes, where, ": a caption of ", with_thousands(text.size()),
                " bytes; at most ", with_thousands(kMostCaptionBytes), " expected");
    for (char& c : text) c = c == '\n' || c == '\r' ? ' ' : c;
    entry.captions.push_back(std::move(text));
  }

  // {"image_id": 1, "caption": "..."}
  void captioned_object(const json& object, const std::string& where) {
    CHECK_INPUT(object.is_object(), where, ": expected {\"image_id\": ..., \"caption\": ...}, found ",
                shown(object));
    const auto text = object.find("caption");
    CHECK_INPUT(text != object.end(), where, ": \"caption\" is missing");
    for (const char* key : {"image_id", "video_id", "id"}) {
      const auto id = object.find(key);
      if (id == object.end()) continue;
      caption(entry(*id, concat_text(where, ".", key)), *text, where + ".caption");
      return;
    }
    const auto input = object.find("input");
    CHECK_INPUT(input != object.end() && input->is_string(), where, ": \"image_id\" is missing");
    const json stem = std::filesystem::path(input->get<std::string>()).stem().string();
    caption(entry(stem, where + ".input"), *text, where + ".caption");
  }

  void list(const json& root, const std::string& where) {
    for (size_t i = 0; i < root.size(); ++i) captioned_object(root[i], concat_text(where, "[", i, "]"));
  }

  void by_id(const json& root) {
    for (const auto& [id, value] : root.items()) {
      const std::string where = concat_text(file_.name, ": ", id.substr(0, 60));
      CaptionedId& own = entry(id, where);
      if (!value.is_array()) {
        caption(own, value, where);
        continue;
      }
      for (size_t i = 0; i < value.size(); ++i) {
        const std::string place = concat_text(where, "[", i, "]");
        const bool wrapped = value[i].is_object() && value[i].contains("caption");
        caption(own, wrapped ? value[i]["caption"] : value[i], place);
      }
    }
  }

  void splits(const json& videos) {
    const std::string where = file_.name + ": videos";
    CHECK_INPUT(videos.is_array(), where, ": expected a list, found ", shown(videos));
    for (size_t i = 0; i < videos.size(); ++i) {
      const json& video = videos[i];
      CHECK_INPUT(video.is_object() && video.contains("video_id"), where, "[", i,
                  "]: \"video_id\" is missing");
      CaptionedId& own = entry(video["video_id"], concat_text(where, "[", i, "].video_id"));
      const auto split = video.find("split");
      if (split != video.end() && split->is_string()) own.split = split->get<std::string>();
      if (own.split == "val") own.split = "validate";
    }
  }

  void read(const json& root) {
    if (root.is_array()) {
      list(root, file_.name + ": ");
      return;
    }
    CHECK_INPUT(root.is_object(), file_.name, ": expected a list or an object of captions, found ",
                shown(root));
    for (const char* key : {"annotations", "sentences"}) {
      const auto found = root.find(key);
      if (found == root.end() || !found->is_array()) continue;
      // Which captions a video without any lacks is for pair_captions to say.
      if (root.contains("videos")) splits(root["videos"]);
      list(*found, concat_text(file_.name, ": ", key));
      return;
    }
    by_id(root);
  }

  void read_lines(const std::string& text) {
    size_t number = 0;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const std::string where = concat_text(file_.name, ": line ", number);
      captioned_object(parse_json(line, where), where);
    }
  }

  CaptionFile finish() {
    const auto empty = [](const CaptionedId& entry) { return entry.captions.empty(); };
    std::erase_if(file_.entries, empty);
    CHECK_INPUT(!file_.entries.empty(), file_.name, ": no captions in this file");
    return std::move(file_);
  }

 private:
  CaptionFile file_;
  std::unordered_map<std::string, size_t> places_;
};

std::string counted(const std::vector<std::string>& wrong, size_t all, const char* what) {
  return concat_text(wrong.size() == 1 ? "this " : "these ", with_thousands(wrong.size()), " of ",
                     with_thousands(all), " ", what);
}

}  // namespace

std::string with_thousands(size_t number) {
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

std::string first_few(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i > 0 ? ", " : "") + (names[i].size() > 60 ? names[i].substr(0, 60) + "..." : names[i]);
  if (names.size() > kShown) text += concat_text(" and ", with_thousands(names.size() - kShown), " more");
  return text;
}

CaptionFile read_caption_file(const std::filesystem::path& path) {
  const std::string text = read_text_file(path, kMostFileBytes);
  Reader reader(path.string());
  if (path.extension() == ".jsonl") {
    reader.read_lines(text);
  } else {
    reader.read(parse_json(text, path.string()));
  }
  return reader.finish();
}

ScoredClips pair_captions(const CaptionFile& references, const CaptionFile& hypotheses,
                          const PairOptions& options) {
  std::unordered_map<std::string, size_t> places;  // in references.entries
  std::set<std::string> splits;
  size_t wanted = 0;
  for (size_t i = 0; i < references.entries.size(); ++i) {
    const CaptionedId& entry = references.entries[i];
    places.emplace(entry.id, i);
    if (!entry.split.empty()) splits.insert(entry.split);
    wanted += options.split.empty() || entry.split == options.split ? 1 : 0;
  }
  CHECK_INPUT(wanted > 0, references.name, ": no clip of split \"", options.split, "\"; ",
              splits.empty() ? "the file has no splits" : "it has ",
              first_few({splits.begin(), splits.end()}));

  std::vector<const std::string*> chosen(references.entries.size(), nullptr);
  std::vector<std::string> unknown;
  std::vector<std::string> repeated;
  size_t outside = 0;
  for (const CaptionedId& entry : hypotheses.entries) {
    auto found = places.find(entry.id);
    if (found == places.end()) found = places.find("video" + entry.id);
    if (found == places.end()) {
      unknown.push_back(entry.id);
    } else if (entry.captions.size() > 1 || chosen[found->second] != nullptr) {
      repeated.push_back(entry.id);
    } else if (!options.split.empty() && references.entries[found->second].split != options.split) {
      ++outside;  // captions of the other splits do no harm
    } else {
      chosen[found->second] = &entry.captions[0];
    }
  }
  const size_t all = hypotheses.entries.size();
  CHECK_INPUT(unknown.empty(), hypotheses.name, ": ", counted(unknown, all, "clips"), " are not in ",
              references.name, ": ", first_few(unknown));
  CHECK_INPUT(repeated.empty(), hypotheses.name, ": ", counted(repeated, all, "clips"),
              " have more than one caption: ", first_few(repeated));

  ScoredClips result;
  std::vector<std::string> missing;
  std::map<std::string, size_t> missing_of_split;
  std::map<std::string, size_t> present_of_split;
  for (size_t i = 0; i < references.entries.size(); ++i) {
    const CaptionedId& entry = references.entries[i];
    if (!options.split.empty() && entry.split != options.split) continue;
    if (chosen[i] == nullptr) {
      missing.push_back(entry.id);
      ++missing_of_split[entry.split];
      continue;
    }
    ++present_of_split[entry.split];
    result.ids.push_back(entry.id);
    result.id_is_number.push_back(entry.id_is_number);
    result.segments.push_back({*chosen[i], entry.captions});
  }
  if (!missing.empty() && !options.subset) {
    std::string advice = "--subset scores the others";
    if (present_of_split.size() == 1 && missing_of_split.count(present_of_split.begin()->first) == 0)
      advice = concat_text("the captions are those of one split: --split ", present_of_split.begin()->first);
    fail_input(hypotheses.name, ": no caption for ", counted(missing, wanted, "clips"), " of ",
               references.name, ": ", first_few(missing), " (", advice, ")");
  }
  CHECK_INPUT(!result.ids.empty(), hypotheses.name, ": no caption for any clip of ", references.name,
              outside > 0 ? " in split " + options.split : "");
  result.left_out = missing.size();
  return result;
}

}  // namespace clipcap
