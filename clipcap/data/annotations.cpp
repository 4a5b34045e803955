#include "clipcap/data/annotations.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr size_t kMostBytes = 512U << 20U;

json parse_file(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  CHECK_INPUT(bytes.size() <= kMostBytes, path.string(), ": ", bytes.size(), " bytes; at most ", kMostBytes,
              " expected");
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

const json& member(const json& object, const char* key, const std::string& where) {
  CHECK_INPUT(object.is_object(), where, ": expected an object, found ", object.type_name());
  const auto found = object.find(key);
  CHECK_INPUT(found != object.end(), where, ": \"", key, "\" is missing");
  return *found;
}

const std::string& text_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  CHECK_INPUT(value.is_string(), where, ".", key, ": expected a string, found ", value.type_name());
  return value.get_ref<const std::string&>();
}

const json& list_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  CHECK_INPUT(value.is_array(), where, ".", key, ": expected a list, found ", value.type_name());
  return value;
}

std::string element(const std::string& where, const char* key, size_t i) {
  return concat_text(where, key, "[", i, "]");
}

// A list of words with or without <sos> … <eos>.
std::vector<std::string> token_list(const json& value, const std::string& where) {
  CHECK_INPUT(value.is_array(), where, ": expected a list of words, found ", value.type_name());
  std::vector<std::string> words;
  for (const json& word : value) {
    CHECK_INPUT(word.is_string(), where, ": expected words, found ", word.type_name());
    const auto& text = word.get_ref<const std::string&>();
    if (text == "<sos>" || text == "<PAD>") continue;
    if (text == "<eos>") break;
    words.push_back(text);
  }
  return words;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// [[raw string, [tokens]], ...]
std::vector<Annotation> aspect(const json& caption, const char* key, const std::string& where) {
  std::vector<Annotation> annotations;
  if (!caption.contains(key)) return annotations;
  const json& list = list_member(caption, key, where);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string place = element(where + ".", key, i);
    CHECK_INPUT(list[i].is_array() && list[i].size() == 2 && list[i][0].is_string(), place,
                ": expected [text, [words]]");
    annotations.push_back({list[i][0].get<std::string>(), token_list(list[i][1], place)});
  }
  return annotations;
}

struct Builder {
  Dataset dataset;
  std::unordered_map<std::string, size_t> by_id;
  std::unordered_map<std::string, std::string> file_names;

  ClipEntry& clip(const std::string& id, const std::string& split) {
    const auto [found, fresh] = by_id.try_emplace(id, dataset.clips.size());
    if (fresh) dataset.clips.push_back({id, {}, split, {}});
    return dataset.clips[found->second];
  }
};

void read_msrvtt(const std::filesystem::path& path, Builder& builder) {
  const json root = parse_file(path);
  const std::string name = path.string();
  const json& videos = list_member(root, "videos", name);
  for (size_t i = 0; i < videos.size(); ++i) {
    const std::string where = element(name + ": ", "videos", i);
    const std::string& id = text_member(videos[i], "video_id", where);
    CHECK_INPUT(!builder.by_id.contains(id), where, ".video_id: \"", id, "\" appears twice");
    const std::string split = videos[i].contains("split") ? text_member(videos[i], "split", where) : "train";
    builder.clip(id, split == "val" ? "validate" : split);
    if (videos[i].contains("file")) builder.file_names[id] = text_member(videos[i], "file", where);
  }
  const json& sentences = list_member(root, "sentences", name);
  for (size_t i = 0; i < sentences.size(); ++i) {
    const std::string where = element(name + ": ", "sentences", i);
    const std::string& id = text_member(sentences[i], "video_id", where);
    const std::string& caption = text_member(sentences[i], "caption", where);
    const auto found = builder.by_id.find(id);
    CHECK_INPUT(found != builder.by_id.end(), where, ".video_id: \"", id, "\" is not among the videos");
    builder.dataset.clips[found->second].captions.push_back({{caption, split_words(caption)}, {}, {}, {}});
  }
}

// "videos": {"train": [0, 1], "val": [], "test": [2]} of a V2C info file, whose numbers may be strings.
void read_v2c_splits(const std::filesystem::path& path, Builder& builder) {
  const json root = parse_file(path);
  const std::string name = path.string();
  const std::string where = name + ": videos";
  const json& videos = member(root, "videos", name);
  for (ClipEntry& clip : builder.dataset.clips) clip.split.clear();
  for (const auto& [key, split] : {std::pair{"train", "train"}, {"val", "validate"}, {"test", "test"}}) {
    CHECK_INPUT(videos.is_object(), name, ": videos: expected an object, found ", videos.type_name());
    if (!videos.contains(key)) continue;
    const json& list = list_member(videos, key, where);
    for (size_t i = 0; i < list.size(); ++i) {
      const bool number = list[i].is_number_unsigned();
      CHECK_INPUT(number || list[i].is_string(), element(name + ": videos.", key, i),
                  ": expected the number of a video, found ", list[i].type_name());
      const std::string id = number ? std::to_string(list[i].get<uint64_t>()) : list[i].get<std::string>();
      const auto found = builder.by_id.find("video" + id);
      if (found == builder.by_id.end()) continue;  // a clip without annotations here
      std::string& chosen = builder.dataset.clips[found->second].split;
      if (chosen.empty()) chosen = split;
    }
  }
}

void read_v2c(const std::filesystem::path& path, Builder& builder, bool adds_clips) {
  const json root = parse_file(path);
  const std::string name = path.string();
  CHECK_INPUT(root.is_object(), name, ": expected an object of videos, found ", root.type_name());
  for (const auto& [id, list] : root.items()) {
    const std::string video = name + ": " + id;
    CHECK_INPUT(list.is_array(), video, ": expected a list of captions, found ", list.type_name());
    const bool known = builder.by_id.contains(id);
    if (!known && !adds_clips) continue;  // V2C covers videos that a subset of MSR-VTT lacks
    ClipEntry& clip = builder.clip(id, "train");
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = concat_text(video, "[", i, "]");
      Caption caption;
      caption.caption.tokens = token_list(member(list[i], "final_caption", where), where + ".final_caption");
      caption.caption.text = list[i].contains("caption") ? text_member(list[i], "caption", where)
                                                         : joined(caption.caption.tokens);
      caption.intention = aspect(list[i], "intention", where);
      caption.effect = aspect(list[i], "effect", where);
      caption.attribute = aspect(list[i], "attribute", where);
      const auto same = std::find_if(clip.captions.begin(), clip.captions.end(), [&](const Caption& own) {
        return own.intention.empty() && own.effect.empty() && own.attribute.empty() &&
               (own.caption.text == caption.caption.text || own.caption.tokens == caption.caption.tokens);
      });
      if (same != clip.captions.end()) {
        *same = std::move(caption);
      } else {
        clip.captions.push_back(std::move(caption));
      }
    }
  }
}

// File names come from elsewhere: they may not lead out of the folder.
bool stays_inside(const std::filesystem::path& name) {
  if (name.empty() || name.is_absolute()) return false;
  return std::none_of(name.begin(), name.end(),
                      [](const std::filesystem::path& part) { return part == ".."; });
}

// Subtitles, descriptions and half-loaded files share a clip's name: only folders and these
// endings are media.
bool is_media(const std::filesystem::path& path) {
  static const std::set<std::string> endings{".mp4", ".avi", ".mkv",  ".webm", ".mov",  ".gif",
                                             ".m4v", ".mpg", ".mpeg", ".ts",   ".flv",  ".wmv",
                                             ".ogv", ".3gp", ".npy",  ".jpg",  ".jpeg", ".png"};
  std::string ending = path.extension().string();
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  std::error_code error;
  return endings.contains(ending) || std::filesystem::is_directory(path, error);
}

void find_media(const std::filesystem::path& folder, Builder& builder) {
  std::unordered_map<std::string, std::filesystem::path> by_stem;
  for (const char* part : {"", "videos", "frames", "features"}) {
    std::error_code error;
    const std::filesystem::path place = *part == '\0' ? folder : folder / part;
    std::vector<std::filesystem::path> entries;
    for (const auto& entry : std::filesystem::directory_iterator(place, error))
      entries.push_back(entry.path());
    std::sort(entries.begin(), entries.end());
    for (const std::filesystem::path& path : entries) {
      if (is_media(path)) by_stem.emplace(path.stem().string(), path);
    }
  }
  for (ClipEntry& clip : builder.dataset.clips) {
    const auto named = builder.file_names.find(clip.video_id);
    if (named != builder.file_names.end()) {
      CHECK_INPUT(stays_inside(named->second), folder.string(), ": clip ", clip.video_id, ": file \"",
                  named->second, "\" leads out of the folder");
      for (const std::filesystem::path& place : {folder / named->second, folder / "videos" / named->second}) {
        std::error_code error;
        if (clip.file.empty() && std::filesystem::exists(place, error)) clip.file = place;
      }
      CHECK_INPUT(!clip.file.empty(), folder.string(), ": clip ", clip.video_id, ": file \"", named->second,
                  "\" is not there");
      continue;
    }
    const auto found = by_stem.find(clip.video_id);
    if (found != by_stem.end()) clip.file = found->second;
  }
}

}  // namespace

std::vector<std::string> split_words(const std::string& text) {
  static const std::set<std::string> dropped{"''", "'", "``", "`", "--"};
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    // Punctuation hangs on the word before it: "kitchen." is the word "kitchen". A colon and a lone hyphen
    // stay: they are words of MSR-VTT's captions, whose counts are known.
    while (!word.empty() && std::string_view(".,!?;\"").find(word.back()) != std::string_view::npos)
      word.pop_back();
    word.erase(0, word.find_first_not_of('"'));
    if (!word.empty() && !dropped.contains(word)) words.push_back(word);
    word.clear();
  };
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      finish();
    } else {
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
  }
  finish();
  return words;
}

Dataset read_dataset(const std::filesystem::path& folder, const DatasetOptions& options) {
  std::error_code error;
  CHECK_INPUT(std::filesystem::is_directory(folder, error), folder.string(), ": no such data folder");
  std::vector<std::filesystem::path> msrvtt;
  std::vector<std::filesystem::path> v2c;
  std::vector<std::filesystem::path> v2c_info;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".json")) continue;
    if (name.find("videodatainfo") != std::string::npos) msrvtt.push_back(entry.path());
    if (name.find("V2C") != std::string::npos && name.find("caption") != std::string::npos)
      v2c.push_back(entry.path());
    if (name == "v2c_info.json" || (name == "msrvtt_new_info.json" && v2c_info.empty())) {
      v2c_info.assign(1, entry.path());  // both hold splits; the commonsense file's is V2C's own
    }
  }
  CHECK_INPUT(!msrvtt.empty() || !v2c.empty(), folder.string(),
              ": no videodatainfo.json and no V2C caption file in this folder");
  CHECK_INPUT(!options.v2c_splits || !v2c_info.empty(), folder.string(),
              ": no v2c_info.json to take the splits from");
  std::sort(msrvtt.begin(), msrvtt.end());
  std::sort(v2c.begin(), v2c.end());
  Builder builder;
  for (const auto& path : msrvtt) read_msrvtt(path, builder);
  for (const auto& path : v2c) read_v2c(path, builder, msrvtt.empty());
  if (!v2c_info.empty() && (options.v2c_splits || msrvtt.empty())) read_v2c_splits(v2c_info.front(), builder);
  if (options.find_media) find_media(folder, builder);
  return std::move(builder.dataset);
}

}  // namespace clipcap
