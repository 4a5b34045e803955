#include "clipcap/text/tokenizer_trainer.h"

#include <algorithm>
#include <queue>
#include <set>

#include "clipcap/text/text_cleaning.h"
#include "clipcap/text/tokenizer_files.h"
#include "clipcap/text/unicode.h"
#include "clipcap/text/word_splitter.h"
#include "tensor/check.h"

namespace clipcap {

namespace {

constexpr size_t kLongestWord = 256;

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

// Counts of all pairs of neighbours, kept up to date while words change.
class PairCounts {
 public:
  using Pair = std::pair<int32_t, int32_t>;

  void add_word(const std::vector<Word>& words, size_t index) {
    for (size_t i = 0; i + 1 < words[index].symbols.size(); ++i) {
      const Pair pair{words[index].symbols[i], words[index].symbols[i + 1]};
      Entry& entry = entries_[key(pair)];
      entry.count += words[index].count;
      if (entry.words.empty() || entry.words.back() != index) entry.words.push_back(index);
      changed_.insert(pair);
    }
  }
  void remove_word(const Word& word) {
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i)
      entries_[key({word.symbols[i], word.symbols[i + 1]})].count -= word.count;
  }

  /// The most frequent pair, if one occurs `min_count` times; it is not offered again with this count.
  bool take_best(int64_t min_count, Pair& best) {
    for (const Pair& pair : changed_) queue_.push({entries_[key(pair)].count, pair});
    changed_.clear();
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = entries_[key(top.pair)].count;
      if (count < min_count) continue;
      if (count != top.count) {  // it has become rarer since it was queued
        queue_.push({count, top.pair});
        continue;
      }
      best = top.pair;
      return true;
    }
    return false;
  }

  /// Indices of the words that hold the pair, perhaps of some that did once, each once.
  std::vector<size_t> words_with(const Pair& pair) {
    std::vector<size_t> words = std::move(entries_[key(pair)].words);
    entries_[key(pair)].words.clear();
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    return words;
  }

 private:
  struct Entry {
    int64_t count = 0;
    std::vector<size_t> words;
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };
  static uint64_t key(const Pair& pair) {
    return static_cast<uint64_t>(pair.first) << 32U | static_cast<uint32_t>(pair.second);
  }

  std::unordered_map<uint64_t, Entry> entries_;
  std::priority_queue<Candidate> queue_;
  std::set<Pair> changed_;
};

void replace_pair(std::vector<int32_t>& symbols, const PairCounts::Pair& pair, int32_t merged) {
  size_t kept = 0;
  for (size_t i = 0; i < symbols.size(); ++kept) {
    const bool here = i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second;
    symbols[kept] = here ? merged : symbols[i];
    i += here ? 2 : 1;
  }
  symbols.resize(kept);
}

}  // namespace

void TokenizerTrainer::add(std::string_view text) {
  const std::u32string specials[] = {U"<|startoftext|>", U"<|endoftext|>"};
  const std::u32string clean = clean_text(text, true);
  for (const std::u32string_view word : split_words(clean, specials)) {
    if (word == specials[0] || word == specials[1]) continue;
    const std::string bytes = encode_utf8(word);
    if (bytes.size() <= kLongestWord) ++counts_[bytes];
  }
}

ClipVocabulary TokenizerTrainer::train(const TokenizerTraining& options) const {
  CHECK_INPUT(options.merges >= 0 && options.merges <= kMostMerges, "merges: ", options.merges,
              ", expected 0 to ", kMostMerges);
  CHECK_INPUT(options.min_count >= 1, "min_count: ", options.min_count, ", expected at least 1");
  ClipVocabulary vocabulary = vocabulary_of_merges({});
  int32_t ids[256];
  for (int32_t id = 0; id < 256; ++id) ids[byte_alphabet().order[id]] = id;
  std::vector<Word> words;
  for (const auto& [text, count] : counts_) {
    words.push_back({{}, count});
    for (const char c : text) words.back().symbols.push_back(ids[static_cast<uint8_t>(c)]);
    words.back().symbols.back() += 256;
  }
  PairCounts pairs;
  for (size_t i = 0; i < words.size(); ++i) pairs.add_word(words, i);

  // Ids as they will be: the merges follow the 512 symbols.
  std::vector<std::string> tokens(vocabulary.tokens.begin(), vocabulary.tokens.begin() + 512);
  std::set<std::string> known(tokens.begin(), tokens.end());
  std::vector<ClipVocabulary::Merge> merges;
  PairCounts::Pair pair;
  while (static_cast<int64_t>(merges.size()) < options.merges && pairs.take_best(options.min_count, pair)) {
    const std::string& left = tokens[static_cast<size_t>(pair.first)];
    const std::string& right = tokens[static_cast<size_t>(pair.second)];
    // Should two pairs ever spell the same token: files name tokens by their spelling, so it gets
    // one id only.
    if (!known.insert(left + right).second) continue;
    merges.push_back({left, right});
    const auto merged = static_cast<int32_t>(tokens.size());
    tokens.push_back(merges.back().left + merges.back().right);
    for (const size_t index : pairs.words_with(pair)) {
      pairs.remove_word(words[index]);
      replace_pair(words[index].symbols, pair, merged);
      pairs.add_word(words, index);
    }
  }
  return vocabulary_of_merges(std::move(merges));
}

}  // namespace clipcap
