#include "clipcap/scores/ngrams.h"

#include <algorithm>

namespace clipcap {

int32_t WordIds::id(std::string_view word) {
  const auto found = ids_.find(word);
  if (found != ids_.end()) return found->second;
  const int32_t fresh = size();
  ids_.emplace(word, fresh);
  return fresh;
}

int32_t WordIds::find(std::string_view word) const {
  const auto found = ids_.find(word);
  return found == ids_.end() ? -1 : found->second;
}

std::vector<std::string> WordIds::words() const {
  std::vector<std::string> words(ids_.size());
  for (const auto& [word, id] : ids_) words[static_cast<size_t>(id)] = word;
  return words;
}

std::vector<NgramCount> count_ngrams(std::span<const int32_t> words, int length) {
  std::vector<Ngram> all;
  const auto n = static_cast<size_t>(length);
  for (size_t begin = 0; begin + n <= words.size(); ++begin) {
    Ngram ngram;
    ngram.fill(-1);
    std::copy_n(words.begin() + static_cast<std::ptrdiff_t>(begin), n, ngram.begin());
    all.push_back(ngram);
  }
  std::sort(all.begin(), all.end());
  std::vector<NgramCount> counts;
  for (const Ngram& ngram : all) {
    if (!counts.empty() && counts.back().ngram == ngram) {
      ++counts.back().count;
    } else {
      counts.push_back({ngram, 1});
    }
  }
  return counts;
}

}  // namespace clipcap
