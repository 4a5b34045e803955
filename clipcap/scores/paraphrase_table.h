// METEOR's paraphrases: pairs of phrases that may stand for each other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace clipcap {

class ParaphraseTable {
 public:
  /// Three lines a pair (probability, phrase, phrase), gzipped or not: data/paraphrase-en.gz of METEOR has five
  /// million. Only those are kept whose words all have a number: `word_id` gives it, or -1. InputError naming
  /// file and line.
  [[nodiscard]] static ParaphraseTable read(const std::filesystem::path& path,
                                            const std::function<int32_t(std::string_view)>& word_id);

  /// The number of a phrase (of words by number), or -1.
  [[nodiscard]] int32_t find(std::span<const int32_t> words) const;
  /// The second phrases of the pairs whose first one this is, in the order of the file.
  [[nodiscard]] std::span<const int32_t> paraphrases(int32_t phrase) const {
    return pairs_[static_cast<size_t>(phrase)];
  }
  [[nodiscard]] size_t longest() const { return longest_; }  ///< words of the longest phrase
  [[nodiscard]] size_t pairs() const { return count_; }

 private:
  int32_t add_phrase(const std::vector<int32_t>& words);
  std::unordered_map<std::u32string, int32_t> phrases_;  // words' numbers as characters
  std::vector<std::vector<int32_t>> pairs_;
  size_t longest_ = 0;
  size_t count_ = 0;
};

}  // namespace clipcap
