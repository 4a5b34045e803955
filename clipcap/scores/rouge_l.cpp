#include "clipcap/scores/rouge_l.h"

#include <algorithm>
#include <cstdint>

#include "clipcap/scores/ngrams.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

std::vector<int32_t> ids_of(WordIds& ids, const std::string& text) {
  std::vector<int32_t> words;
  for (const std::string_view word : split_single_spaces(text)) words.push_back(ids.id(word));
  return words;
}

// Two rows of the usual table.
int32_t longest_common_subsequence(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  std::vector<int32_t> row(b.size() + 1, 0);
  for (const int32_t word : a) {
    int32_t diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const int32_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

double score(const Segment& segment) {
  WordIds ids;
  const std::vector<int32_t> hypothesis = ids_of(ids, segment.hypothesis);
  double precision = 0;
  double recall = 0;
  for (const std::string& text : segment.references) {
    const std::vector<int32_t> reference = ids_of(ids, text);
    const double common = longest_common_subsequence(hypothesis, reference);
    precision = std::max(precision, common / static_cast<double>(hypothesis.size()));
    recall = std::max(recall, common / static_cast<double>(reference.size()));
  }
  if (precision == 0 || recall == 0) return 0;
  constexpr double kSquaredBeta = 1.2 * 1.2;
  return (1 + kSquaredBeta) * precision * recall / (recall + kSquaredBeta * precision);
}

}  // namespace

MetricScores rouge_l(std::span<const Segment> segments) {
  MetricScores result;
  result.per_segment.resize(segments.size());
  parallel_for(static_cast<int64_t>(segments.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      result.per_segment[static_cast<size_t>(i)] = score(segments[static_cast<size_t>(i)]);
    }
  });
  double sum = 0;
  for (const double one : result.per_segment) sum += one;
  result.corpus = segments.empty() ? 0 : sum / static_cast<double>(segments.size());
  return result;
}

}  // namespace clipcap
