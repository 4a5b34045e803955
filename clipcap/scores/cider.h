// CIDEr (Vedantam et al. 2015) as the COCO caption evaluation computes it: what its authors call CIDEr-D.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>

#include "clipcap/scores/ngrams.h"
#include "clipcap/scores/segment.h"

namespace clipcap {

/// In how many clips' references each n-gram occurs. The references in hand make them, or those of a larger
/// set: scores of different subsets can be compared only when they share their frequencies.
class DocumentFrequencies {
 public:
  [[nodiscard]] static DocumentFrequencies of_references(std::span<const Segment> segments);
  /// {"clips": N, "document_frequency": {"a man": 12, ...}}, n-grams of one to four words with one space
  /// between them. InputError naming the file and the place.
  [[nodiscard]] static DocumentFrequencies read(const std::filesystem::path& path);
  void write(const std::filesystem::path& path) const;

  /// Clips that were counted (fewer than two make every weight 0).
  [[nodiscard]] double clips() const { return clips_; }
  [[nodiscard]] size_t size() const { return counts_.size(); }
  /// 0 for an n-gram that no reference has. Words are numbers of word_ids().
  [[nodiscard]] double count(const Ngram& ngram) const;
  [[nodiscard]] const WordIds& word_ids() const { return words_; }

 private:
  WordIds words_;
  std::unordered_map<Ngram, int32_t, NgramHash> counts_;
  double clips_ = 0;
};

/// Mean over n = 1..4 and over the references of 10 * the cosine of tf-idf vectors, with
///   tf = count, idf = log(clips) - log(max(1, document frequency)),
/// hypothesis entries cut to the reference's, and a factor exp(-d^2 / (2 * 6^2)) for lengths d bigrams apart.
/// Not a fraction: 10 would be a caption equal to all its references.
[[nodiscard]] MetricScores cider(std::span<const Segment> segments, const DocumentFrequencies& frequencies);

}  // namespace clipcap
