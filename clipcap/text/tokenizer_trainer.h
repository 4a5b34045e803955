// Learns a vocabulary of CLIP's kind from texts: the pair of neighbouring symbols that occurs most often
// becomes a symbol, again and again (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with
// Subword Units"), over the same cleaned and split words that the tokenizer will see.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "clipcap/text/tokenizer.h"

namespace clipcap {

struct TokenizerTraining {
  int64_t merges = 1000;  // at most this many; fewer when no pair is left
  int64_t min_count = 2;  // a pair must occur this often
};

class TokenizerTrainer {
 public:
  /// Counts the words of a UTF-8 text. Words of more than 256 bytes are left out: they are no words.
  void add(std::string_view text);

  /// 256 bytes, 256 bytes at the end of a word, the merges, start, end: the layout of OpenAI's file. Of pairs
  /// that are equally frequent, the one with the lower left id, then the lower right id comes first, so the
  /// same texts in any order give the same vocabulary.
  [[nodiscard]] ClipVocabulary train(const TokenizerTraining& options) const;

  [[nodiscard]] size_t words() const { return counts_.size(); }

 private:
  std::unordered_map<std::string, int64_t> counts_;  // UTF-8 words
};

}  // namespace clipcap
