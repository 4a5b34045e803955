#include "clipcap/data/annotations.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "clipcap/data/clip_index.h"
#include "clipcap/data/json_lists.h"
#include "clipcap/data/media_files.h"
#include "clipcap/data/splits.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

using nlohmann::json;

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

std::string element(const std::string& where, const std::string& key, size_t i) {
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
    if (!text.empty()) words.push_back(text);
  }
  return words;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

class Builder {
 public:
  Builder() { dataset_.splits.emplace_back(); }

  // Captions follow in any order, so the clips are read first.
  void read_msrvtt(const std::filesystem::path& path) {
    const std::string name = path.string();
    const auto part = [&](const std::string& wanted, const auto& element_of) {
      bool there = false;
      read_json_lists(path, "an object",
                      {[&](const std::string& key) {
                         there = there || key == wanted;
                         return key == wanted;
                       },
                       [&](const std::string&, size_t i, const json& value) { element_of(i, value); },
                       [&](const std::string& key, const char* type) {
                         CHECK_INPUT(key != wanted, name, ".", key, ": expected a list, found ", type);
                       }});
      CHECK_INPUT(there, name, ": \"", wanted, "\" is missing");
    };
    part("videos", [&](size_t i, const json& video) {
      const std::string where = element(name + ": ", "videos", i);
      const std::string& id = text_member(video, "video_id", where);
      CHECK_INPUT(index_.add(id, dataset_.clips.size()), where, ".video_id: \"", id, "\" appears twice");
      const std::string split = video.contains("split") ? text_member(video, "split", where) : "train";
      add_clip(id, split_name(split));
      if (video.contains("file")) file_names_[id] = text_member(video, "file", where);
    });
    part("sentences", [&](size_t i, const json& sentence) {
      const std::string where = element(name + ": ", "sentences", i);
      const std::string& id = text_member(sentence, "video_id", where);
      const std::string& caption = text_member(sentence, "caption", where);
      const std::optional<size_t> clip = index_.find(id);
      CHECK_INPUT(clip, where, ".video_id: \"", id, "\" is not among the videos");
      add_caption(*clip, caption, split_words(caption));
    });
  }

  void read_v2c(const std::filesystem::path& path, bool adds_clips) {
    order_captions();
    v2c_alone_ = adds_clips;
    const std::string name = path.string();
    V2cCoverage coverage;
    coverage.file = path.filename().string();
    std::optional<size_t> clip;
    read_json_lists(path, "an object of videos",
                    {[&](const std::string& id) {
                       bool renamed = false;
                       clip = index_.find(id, &renamed);
                       if (!clip && adds_clips) {
                         clip = dataset_.clips.size();
                         index_.add(id, *clip);
                         add_clip(id, "train");
                       }
                       if (!clip && coverage.unknown++ == 0) coverage.example = id.substr(0, 60);
                       if (renamed && coverage.renamed++ == 0)
                         coverage.renamed_example =
                             id.substr(0, 60) + " is " + dataset_.clips[*clip].video_id;
                       coverage.clips += clip ? 1 : 0;
                       return clip.has_value();  // V2C covers videos that a subset of MSR-VTT lacks
                     },
                     [&](const std::string& id, size_t i, const json& value) {
                       add_v2c_caption(*clip, value, concat_text(name, ": ", id, "[", i, "]"), coverage);
                     },
                     [&](const std::string& id, const char* type) {
                       fail_input(name, ": ", id, ": expected a list of captions, found ", type);
                     }});
    dataset_.commonsense.push_back(std::move(coverage));
  }

  [[nodiscard]] Dataset& finish() {
    order_captions();
    return dataset_;
  }
  [[nodiscard]] const ClipIndex& index() const { return index_; }
  [[nodiscard]] const std::unordered_map<std::string, std::string>& file_names() const { return file_names_; }

 private:
  void add_clip(const std::string& id, const std::string& split) {
    const auto known = std::find(dataset_.splits.begin(), dataset_.splits.end(), split);
    const auto number = static_cast<uint32_t>(known - dataset_.splits.begin());
    if (known == dataset_.splits.end()) {
      CHECK_INPUT(dataset_.splits.size() < 10'000, "more than 10000 splits (\"", split, "\" …)");
      dataset_.splits.push_back(split);
    }
    dataset_.clips.emplace_back().video_id = id;
    dataset_.clips.back().split = number;
  }

  [[nodiscard]] std::vector<uint32_t> numbers(const std::vector<std::string>& words) {
    std::vector<uint32_t> result;
    for (const std::string& word : words) result.push_back(dataset_.words.add(word));
    return result;
  }

  [[nodiscard]] uint32_t add_text(const std::string& text, std::span<const uint32_t> words) {
    const size_t row = dataset_.texts.size();
    CHECK_INPUT(row < ~0U, "more captions than 32 bits count");
    dataset_.texts.add(std::span(text.data(), text.size()));
    dataset_.tokens.add(words);
    return static_cast<uint32_t>(row);
  }

  void add_caption(size_t clip, const std::string& text, const std::vector<std::string>& words) {
    if (words.empty()) {
      ++dataset_.clips[clip].empty_captions;
      return;
    }
    fresh_.push_back({static_cast<uint32_t>(clip), {add_text(text, numbers(words)), {}, {}}});
  }

  // [[raw string, [tokens]], ...]
  void add_annotations(const json& caption, size_t kind, const std::string& where, Dataset::Rows& rows,
                       V2cCoverage& coverage) {
    const char* key = kAnnotationNames[kind];
    Ragged<uint32_t>& all = dataset_.annotations[kind];
    rows.first[kind] = static_cast<uint32_t>(all.size());
    rows.count[kind] = 0;
    const auto found = caption.find(key);
    if (found == caption.end()) return;
    CHECK_INPUT(found->is_array(), where, ".", key, ": expected a list, found ", found->type_name());
    for (size_t i = 0; i < found->size(); ++i) {
      const json& annotation = (*found)[i];
      const std::string place = element(where + ".", key, i);
      CHECK_INPUT(annotation.is_array() && annotation.size() == 2 && annotation[0].is_string(), place,
                  ": expected [text, [words]]");
      const std::vector<uint32_t> words = numbers(token_list(annotation[1], place));
      if (words.empty()) {
        ++coverage.empty;
        continue;
      }
      CHECK_INPUT(all.size() < ~0U, place, ": more annotations than 32 bits count");
      all.add(words);
      ++rows.count[kind];
    }
  }

  void add_v2c_caption(size_t clip, const json& value, const std::string& where, V2cCoverage& coverage) {
    const std::vector<std::string> tokens =
        token_list(member(value, "final_caption", where), where + ".final_caption");
    const std::string text =
        value.contains("caption") ? text_member(value, "caption", where) : joined(tokens);
    Dataset::Rows rows;
    for (size_t k = 0; k < kAnnotationKinds; ++k) add_annotations(value, k, where, rows, coverage);
    if (tokens.empty()) {
      // Beside MSR-VTT's file it is one of the captions that were counted there.
      dataset_.clips[clip].empty_captions += v2c_alone_ ? 1 : 0;
      return;
    }
    const std::vector<uint32_t> words = numbers(tokens);
    Dataset::Rows* same = nullptr;
    for (Dataset::Rows& own : own_captions(clip)) {
      const bool bare = own.count == std::array<uint32_t, kAnnotationKinds>{};
      if (!bare) continue;
      const auto own_words = dataset_.tokens[own.text];
      const bool same_words = std::equal(own_words.begin(), own_words.end(), words.begin(), words.end());
      if (!same_words && dataset_.text(own) != text) continue;
      same = &own;
      rows.text = same_words && dataset_.text(own) == text ? own.text : add_text(text, words);
      break;
    }
    if (same != nullptr) {
      *same = rows;
      ++coverage.matched;
      return;
    }
    rows.text = add_text(text, words);
    fresh_.push_back({static_cast<uint32_t>(clip), rows});
    ++coverage.added;
  }

  [[nodiscard]] std::span<Dataset::Rows> own_captions(size_t clip) {
    const Dataset::Clip& own = dataset_.clips[clip];
    return std::span(dataset_.captions).subspan(own.first_caption, own.captions);
  }

  // Captions in the order of their clips, those of a clip as they came.
  void order_captions() {
    if (fresh_.empty()) return;
    CHECK_INPUT(dataset_.clips.size() < ~0U, "more clips than 32 bits count");
    std::vector<size_t> counts(dataset_.clips.size(), 0);
    for (size_t c = 0; c < counts.size(); ++c) counts[c] = dataset_.clips[c].captions;
    for (const Fresh& caption : fresh_) ++counts[caption.clip];
    std::vector<Dataset::Rows> ordered(dataset_.captions.size() + fresh_.size());
    size_t at = 0;
    for (size_t c = 0; c < counts.size(); ++c) {
      Dataset::Clip& clip = dataset_.clips[c];
      const auto own = own_captions(c);
      std::copy(own.begin(), own.end(), ordered.begin() + static_cast<std::ptrdiff_t>(at));
      clip.first_caption = at;
      at += counts[c];
    }
    for (const Fresh& caption : fresh_) {
      Dataset::Clip& clip = dataset_.clips[caption.clip];
      ordered[clip.first_caption + clip.captions++] = caption.rows;
    }
    dataset_.captions = std::move(ordered);
    fresh_ = {};
  }

  struct Fresh {
    uint32_t clip = 0;
    Dataset::Rows rows;
  };
  Dataset dataset_;
  bool v2c_alone_ = false;
  ClipIndex index_;
  std::unordered_map<std::string, std::string> file_names_;
  std::vector<Fresh> fresh_;  // not yet among the data set's captions
};

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
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

Dataset read_dataset(const std::filesystem::path& folder, const DatasetOptions& options,
                     std::string* places) {
  std::error_code error;
  CHECK_INPUT(std::filesystem::is_directory(folder, error), folder.string(), ": no such data folder");
  std::vector<std::filesystem::path> msrvtt;
  std::vector<std::filesystem::path> merged;  // MSRVTT_data.json: the other files together
  std::vector<std::filesystem::path> v2c;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = lower(entry.path().filename().string());
    if (!name.ends_with(".json") || name.starts_with(".")) continue;
    if (name.find("videodatainfo") != std::string::npos) msrvtt.push_back(entry.path());
    if (name == "msrvtt_data.json") merged.push_back(entry.path());
    if (name.find("v2c") != std::string::npos && name.find("caption") != std::string::npos)
      v2c.push_back(entry.path());
  }
  if (msrvtt.empty()) msrvtt = merged;
  CHECK_INPUT(!msrvtt.empty() || !v2c.empty(), folder.string(),
              ": no videodatainfo.json and no V2C caption file in this folder");
  std::sort(msrvtt.begin(), msrvtt.end());
  std::sort(v2c.begin(), v2c.end());
  Builder builder;
  for (const auto& path : msrvtt) builder.read_msrvtt(path);
  for (const auto& path : v2c) builder.read_v2c(path, msrvtt.empty());
  Dataset dataset = std::move(builder.finish());
  dataset.split_source = msrvtt.empty() ? "V2C's captions" : msrvtt.front().filename().string();
  choose_splits(folder, options.splits, !msrvtt.empty(), builder.index(), dataset);
  if (options.find_media) {
    const std::string looked_at = find_media(folder, dataset, builder.file_names());
    if (places != nullptr) *places = looked_at;
  }
  return dataset;
}

}  // namespace clipcap
