#include "clipcap/scores/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "clipcap/scores/ngrams.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

struct Counts {
  std::array<int64_t, 4> matches{};
  std::array<int64_t, 4> guesses{};
  int64_t length = 0;
  int64_t reference_length = 0;

  void add(const Counts& other) {
    for (size_t n = 0; n < 4; ++n) {
      matches[n] += other.matches[n];
      guesses[n] += other.guesses[n];
    }
    length += other.length;
    reference_length += other.reference_length;
  }
};

std::vector<int32_t> ids_of(WordIds& ids, const std::string& text) {
  std::vector<int32_t> words;
  for (const std::string_view word : split_white_space(text)) words.push_back(ids.id(word));
  return words;
}

Counts count(const Segment& segment) {
  WordIds ids;
  const std::vector<int32_t> hypothesis = ids_of(ids, segment.hypothesis);
  std::vector<std::vector<int32_t>> references;
  for (const std::string& reference : segment.references) references.push_back(ids_of(ids, reference));
  Counts counts;
  counts.length = static_cast<int64_t>(hypothesis.size());
  int64_t nearest = -1;
  for (const auto& reference : references) {
    const auto length = static_cast<int64_t>(reference.size());
    const int64_t distance = std::abs(length - counts.length);
    if (nearest < 0 || distance < nearest || (distance == nearest && length < counts.reference_length)) {
      nearest = distance;
      counts.reference_length = length;
    }
  }
  for (int n = 1; n <= kLongestNgram; ++n) {
    const auto order = static_cast<size_t>(n - 1);
    const std::vector<NgramCount> own = count_ngrams(hypothesis, n);
    std::vector<int32_t> most(own.size(), 0);
    for (const auto& reference : references) {
      const std::vector<NgramCount> other = count_ngrams(reference, n);
      size_t at = 0;  // both are sorted
      for (size_t i = 0; i < own.size(); ++i) {
        while (at < other.size() && other[at].ngram < own[i].ngram) ++at;
        if (at < other.size() && other[at].ngram == own[i].ngram)
          most[i] = std::max(most[i], other[at].count);
      }
    }
    for (size_t i = 0; i < own.size(); ++i) counts.matches[order] += std::min(own[i].count, most[i]);
    counts.guesses[order] = std::max<int64_t>(0, counts.length - n + 1);
  }
  return counts;
}

std::array<double, 4> scores_of(const Counts& counts) {
  constexpr double kTiny = 1e-15;  // the reference's: a clip without matches gets a very small score, not 0
  constexpr double kSmall = 1e-9;
  const double ratio =
      (static_cast<double>(counts.length) + kTiny) / (static_cast<double>(counts.reference_length) + kSmall);
  const double brevity = ratio < 1 ? std::exp(1 - 1 / ratio) : 1;
  std::array<double, 4> scores{};
  double product = 1;
  for (size_t n = 0; n < 4; ++n) {
    product *=
        (static_cast<double>(counts.matches[n]) + kTiny) / (static_cast<double>(counts.guesses[n]) + kSmall);
    scores[n] = std::pow(product, 1.0 / static_cast<double>(n + 1)) * brevity;
  }
  return scores;
}

}  // namespace

std::array<MetricScores, 4> bleu(std::span<const Segment> segments) {
  std::vector<Counts> counts(segments.size());
  parallel_for(static_cast<int64_t>(segments.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      counts[static_cast<size_t>(i)] = count(segments[static_cast<size_t>(i)]);
    }
  });
  std::array<MetricScores, 4> result;
  Counts sum;
  for (const Counts& own : counts) {
    sum.add(own);
    const std::array<double, 4> scores = scores_of(own);
    for (size_t n = 0; n < 4; ++n) result[n].per_segment.push_back(scores[n]);
  }
  const std::array<double, 4> scores = scores_of(sum);
  for (size_t n = 0; n < 4; ++n) result[n].corpus = segments.empty() ? 0 : scores[n];
  return result;
}

}  // namespace clipcap
