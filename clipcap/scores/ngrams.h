// Words as numbers and the n-grams that BLEU and CIDEr count.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace clipcap {

inline constexpr int kLongestNgram = 4;

/// Up to four words in a row; those behind its end are -1.
using Ngram = std::array<int32_t, kLongestNgram>;

struct NgramHash {
  size_t operator()(const Ngram& ngram) const {
    uint64_t hash = 0x9E3779B97F4A7C15U;
    for (const int32_t word : ngram) {
      hash = (hash ^ static_cast<uint32_t>(word)) * 0xBF58476D1CE4E5B9U;
      hash ^= hash >> 29U;
    }
    return hash;
  }
};

/// Numbers for words, from 0 in the order of their first use.
class WordIds {
 public:
  int32_t id(std::string_view word);
  /// -1 for a word that was never given.
  [[nodiscard]] int32_t find(std::string_view word) const;
  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(ids_.size()); }
  /// Every word, by its number.
  [[nodiscard]] std::vector<std::string> words() const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view word) const { return std::hash<std::string_view>()(word); }
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
};

struct NgramCount {
  Ngram ngram;
  int32_t count;
};

/// The different n-grams of one length (1 to 4), sorted, with how often each occurs.
[[nodiscard]] std::vector<NgramCount> count_ngrams(std::span<const int32_t> words, int length);

}  // namespace clipcap
