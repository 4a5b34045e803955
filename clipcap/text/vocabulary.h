// Word vocabularies: built from captions, saved in vocab.json, or read from Video2Commonsense's dictionaries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace clipcap {

class Vocabulary {
 public:
  Vocabulary() = default;
  /// Special words 0 <PAD>, 1 <UNK>, 2 <sos>, 3 <eos>, then every word that occurs more than `min_count`
  /// times, the most frequent first, ties in alphabetical order.
  [[nodiscard]] static Vocabulary build(const std::vector<std::vector<std::string>>& sentences,
                                        int64_t min_count);
  /// The same from words and how often each occurs.
  [[nodiscard]] static Vocabulary from_counts(const std::vector<std::pair<std::string, int64_t>>& counts,
                                              int64_t min_count);
  /// The "ix_to_word" of a V2C info file: ids are strings or numbers; the older layout has 0 <eos>, 1 <sos>,
  /// no padding and <UNK> last (padding is then appended).
  [[nodiscard]] static Vocabulary from_v2c_info(const std::filesystem::path& path);
  /// A list of words with the ids of the special ones; `where` begins error messages.
  [[nodiscard]] static Vocabulary from_json(const nlohmann::json& value, const std::string& where);
  [[nodiscard]] nlohmann::json to_json() const;

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(words_.size()); }
  [[nodiscard]] int32_t pad() const { return pad_; }
  [[nodiscard]] int32_t unk() const { return unk_; }
  [[nodiscard]] int32_t sos() const { return sos_; }
  [[nodiscard]] int32_t eos() const { return eos_; }
  [[nodiscard]] const std::string& word(int32_t id) const;

  /// unk() when the word is none of them.
  [[nodiscard]] int32_t id(const std::string& word) const;
  /// Words that are not special.
  [[nodiscard]] int64_t plain_words() const { return size() - 4; }

  /// sos, the words' ids (unk for unknown ones), eos; cut to `max_length` ids with eos kept.
  [[nodiscard]] std::vector<int32_t> encode(const std::vector<std::string>& words, int64_t max_length) const;
  /// Words joined by spaces up to the first eos; sos and padding are left out.
  [[nodiscard]] std::string decode(std::span<const int32_t> ids) const;

 private:
  void index_words();
  std::vector<std::string> words_;
  std::unordered_map<std::string, int32_t> ids_;
  int32_t pad_ = 0;
  int32_t unk_ = 1;
  int32_t sos_ = 2;
  int32_t eos_ = 3;
};

}  // namespace clipcap
