#include "clipcap/text/vocabulary.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {

using nlohmann::json;

namespace {
constexpr int64_t kMostWords = 10'000'000;

int64_t parse_id(const std::string& text, const std::string& where) {
  int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  CHECK_INPUT(error == std::errc() && end == text.data() + text.size() && id >= 0 && id < kMostWords, where,
              ": \"", text, "\" is not a word id");
  return id;
}
}  // namespace

void Vocabulary::index_words() {
  ids_.clear();
  for (size_t i = 0; i < words_.size(); ++i) ids_.emplace(words_[i], static_cast<int32_t>(i));
}

Vocabulary Vocabulary::build(const std::vector<std::vector<std::string>>& sentences, int64_t min_count) {
  std::map<std::string, int64_t> counts;
  for (const auto& sentence : sentences) {
    for (const std::string& word : sentence) ++counts[word];
  }
  return from_counts({counts.begin(), counts.end()}, min_count);
}

Vocabulary Vocabulary::from_counts(const std::vector<std::pair<std::string, int64_t>>& counts,
                                   int64_t min_count) {
  std::vector<std::pair<std::string, int64_t>> kept;
  for (const auto& entry : counts) {
    if (entry.second > min_count) kept.push_back(entry);
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  Vocabulary vocabulary;
  vocabulary.words_ = {"<PAD>", "<UNK>", "<sos>", "<eos>"};
  for (const auto& [word, count] : kept) {
    if (std::find(vocabulary.words_.begin(), vocabulary.words_.begin() + 4, word) ==
        vocabulary.words_.begin() + 4) {
      vocabulary.words_.push_back(word);
    }
  }
  vocabulary.index_words();
  return vocabulary;
}

Vocabulary Vocabulary::from_v2c_info(const std::filesystem::path& path) {
  const std::string name = path.string();
  const json parsed = parse_json(read_text_file(path, 512U << 20U), name);
  CHECK_INPUT(parsed.is_object() && parsed.contains("ix_to_word") && parsed["ix_to_word"].is_object(), name,
              ": expected an object with \"ix_to_word\"");
  const json& table = parsed["ix_to_word"];
  Vocabulary vocabulary;
  vocabulary.words_.resize(table.size());
  std::vector<bool> seen(table.size(), false);
  for (const auto& [key, word] : table.items()) {
    const std::string where = name + ": ix_to_word";
    const int64_t id = parse_id(key, where);
    CHECK_INPUT(id < static_cast<int64_t>(table.size()), where, ": id ", id, " of ", table.size(), " words");
    CHECK_INPUT(word.is_string(), where, "[\"", key, "\"]: expected a word, found ", word.type_name());
    seen[static_cast<size_t>(id)] = true;
    vocabulary.words_[static_cast<size_t>(id)] = word.get<std::string>();
  }
  for (size_t i = 0; i < seen.size(); ++i) CHECK_INPUT(seen[i], name, ": ix_to_word has no id ", i);
  vocabulary.index_words();
  const auto special = [&](const char* word, int32_t& id) {
    const auto found = vocabulary.ids_.find(word);
    if (found == vocabulary.ids_.end()) return false;
    id = found->second;
    return true;
  };
  CHECK_INPUT(special("<sos>", vocabulary.sos_), name, ": no word <sos>");
  CHECK_INPUT(special("<eos>", vocabulary.eos_), name, ": no word <eos>");
  CHECK_INPUT(special("<UNK>", vocabulary.unk_), name, ": no word <UNK>");
  if (!special("<PAD>", vocabulary.pad_)) {
    vocabulary.pad_ = static_cast<int32_t>(vocabulary.words_.size());
    vocabulary.words_.emplace_back("<PAD>");
    vocabulary.index_words();
  }
  return vocabulary;
}

Vocabulary Vocabulary::from_json(const json& value, const std::string& where) {
  CHECK_INPUT(value.is_object() && value.contains("words") && value["words"].is_array(), where,
              ": expected {\"words\": [...]}");
  Vocabulary vocabulary;
  for (const json& word : value["words"]) {
    CHECK_INPUT(word.is_string(), where, ".words[", vocabulary.words_.size(), "]: expected a string, found ",
                word.type_name());
    vocabulary.words_.push_back(word.get<std::string>());
  }
  for (const auto& [key, id] : {std::pair<const char*, int32_t*>{"pad", &vocabulary.pad_},
                                {"unk", &vocabulary.unk_},
                                {"sos", &vocabulary.sos_},
                                {"eos", &vocabulary.eos_}}) {
    CHECK_INPUT(value.contains(key) && value[key].is_number_unsigned() &&
                    value[key].get<uint64_t>() < vocabulary.words_.size(),
                where, ".", key, ": expected the id of a word");
    *id = value[key].get<int32_t>();
  }
  vocabulary.index_words();
  return vocabulary;
}

json Vocabulary::to_json() const {
  return {{"words", words_}, {"pad", pad_}, {"unk", unk_}, {"sos", sos_}, {"eos", eos_}};
}

const std::string& Vocabulary::word(int32_t id) const {
  CHECK(id >= 0 && id < size(), "Vocabulary: id ", id, " of ", size(), " words");
  return words_[static_cast<size_t>(id)];
}

int32_t Vocabulary::id(const std::string& word) const {
  const auto found = ids_.find(word);
  return found != ids_.end() ? found->second : unk_;
}

std::vector<int32_t> Vocabulary::encode(const std::vector<std::string>& words, int64_t max_length) const {
  CHECK(max_length >= 2, "Vocabulary::encode: max_length ", max_length);
  std::vector<int32_t> ids{sos_};
  for (const std::string& word : words) {
    if (static_cast<int64_t>(ids.size()) == max_length - 1) break;
    ids.push_back(id(word));
  }
  ids.push_back(eos_);
  return ids;
}

std::string Vocabulary::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id == eos_) break;
    if (id == sos_ || id == pad_) continue;
    if (!text.empty()) text += ' ';
    text += word(id);
  }
  return text;
}

}  // namespace clipcap
