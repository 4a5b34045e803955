#include "clipcap/scores/cider.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

constexpr size_t kMostBytes = 512U << 20U;

struct Entry {
  Ngram ngram;
  double weight;
};

struct Vectors {
  std::array<std::vector<Entry>, kLongestNgram> entries;  // by length, sorted
  std::array<double, kLongestNgram> norms{};
  double bigrams = 0;
};

// Words that the frequencies do not know get numbers behind theirs, the same within one clip.
std::vector<int32_t> ids_of(const WordIds& known, WordIds& fresh, const std::string& text) {
  std::vector<int32_t> words;
  for (const std::string_view word : split_white_space(text)) {
    const int32_t id = known.find(word);
    words.push_back(id >= 0 ? id : known.size() + fresh.id(word));
  }
  return words;
}

Vectors vectors_of(const std::vector<int32_t>& words, const DocumentFrequencies& frequencies) {
  const double log_clips = std::log(frequencies.clips());
  Vectors vectors;
  for (int n = 1; n <= kLongestNgram; ++n) {
    const auto order = static_cast<size_t>(n - 1);
    double squares = 0;
    for (const NgramCount& one : count_ngrams(words, n)) {
      const double idf = log_clips - std::log(std::max(1.0, frequencies.count(one.ngram)));
      const double weight = one.count * idf;
      vectors.entries[order].push_back({one.ngram, weight});
      squares += weight * weight;
    }
    vectors.norms[order] = std::sqrt(squares);
  }
  vectors.bigrams = words.empty() ? 0 : static_cast<double>(words.size() - 1);
  return vectors;
}

double similarity(const Vectors& hypothesis, const Vectors& reference) {
  constexpr double kSigma = 6;
  const double apart = hypothesis.bigrams - reference.bigrams;
  const double length_factor = std::exp(-(apart * apart) / (2 * kSigma * kSigma));
  double sum = 0;
  for (size_t n = 0; n < kLongestNgram; ++n) {
    const std::vector<Entry>& other = reference.entries[n];
    double product = 0;
    size_t at = 0;
    for (const Entry& own : hypothesis.entries[n]) {
      while (at < other.size() && other[at].ngram < own.ngram) ++at;
      if (at < other.size() && other[at].ngram == own.ngram)
        product += std::min(own.weight, other[at].weight) * other[at].weight;
    }
    const double norms = hypothesis.norms[n] * reference.norms[n];
    if (norms != 0) product /= norms;
    sum += product * length_factor;
  }
  return sum / kLongestNgram;
}

double score(const Segment& segment, const DocumentFrequencies& frequencies) {
  WordIds fresh;
  const WordIds& known = frequencies.word_ids();
  const Vectors hypothesis = vectors_of(ids_of(known, fresh, segment.hypothesis), frequencies);
  double sum = 0;
  for (const std::string& reference : segment.references)
    sum += similarity(hypothesis, vectors_of(ids_of(known, fresh, reference), frequencies));
  return segment.references.empty() ? 0 : 10 * sum / static_cast<double>(segment.references.size());
}

}  // namespace

DocumentFrequencies DocumentFrequencies::of_references(std::span<const Segment> segments) {
  DocumentFrequencies result;
  result.clips_ = static_cast<double>(segments.size());
  std::vector<Ngram> own;
  for (const Segment& segment : segments) {
    own.clear();
    for (const std::string& reference : segment.references) {
      std::vector<int32_t> words;
      for (const std::string_view word : split_white_space(reference))
        words.push_back(result.words_.id(word));
      for (int n = 1; n <= kLongestNgram; ++n)
        for (const NgramCount& one : count_ngrams(words, n)) own.push_back(one.ngram);
    }
    std::sort(own.begin(), own.end());
    own.erase(std::unique(own.begin(), own.end()), own.end());
    for (const Ngram& ngram : own) ++result.counts_[ngram];
  }
  return result;
}

double DocumentFrequencies::count(const Ngram& ngram) const {
  const auto found = counts_.find(ngram);
  return found == counts_.end() ? 0 : found->second;
}

DocumentFrequencies DocumentFrequencies::read(const std::filesystem::path& path) {
  const std::string name = path.string();
  const nlohmann::json root = parse_json(read_text_file(path, kMostBytes), name);
  CHECK_INPUT(root.is_object() && root.contains("clips") && root.contains("document_frequency"), name,
              ": expected {\"clips\": N, \"document_frequency\": {\"a man\": 12, ...}}");
  const nlohmann::json& clips = root["clips"];
  CHECK_INPUT(clips.is_number_unsigned() && clips.get<uint64_t>() > 0 && clips.get<uint64_t>() <= INT32_MAX,
              name, ": clips: expected how many clips were counted, found ", shown(clips));
  const nlohmann::json& list = root["document_frequency"];
  CHECK_INPUT(list.is_object(), name, ": document_frequency: expected an object, found ", shown(list));
  DocumentFrequencies result;
  result.clips_ = static_cast<double>(clips.get<uint64_t>());
  for (const auto& [text, count] : list.items()) {
    const std::vector<std::string_view> words = split_white_space(text);
    CHECK_INPUT(!words.empty() && words.size() <= kLongestNgram, name, ": document_frequency: \"",
                text.substr(0, 60), "\": expected one to ", kLongestNgram, " words, found ", words.size());
    CHECK_INPUT(count.is_number_unsigned() && count.get<uint64_t>() <= clips.get<uint64_t>(), name,
                ": document_frequency: \"", text.substr(0, 60), "\": expected a number of clips up to ",
                clips.get<uint64_t>(), ", found ", shown(count));
    Ngram ngram;
    ngram.fill(-1);
    for (size_t i = 0; i < words.size(); ++i) ngram[i] = result.words_.id(words[i]);
    result.counts_[ngram] = static_cast<int32_t>(count.get<uint64_t>());
  }
  return result;
}

void DocumentFrequencies::write(const std::filesystem::path& path) const {
  const std::vector<std::string> words = words_.words();
  nlohmann::json list = nlohmann::json::object();
  for (const auto& [ngram, count] : counts_) {
    std::string text;
    for (const int32_t word : ngram) {
      if (word >= 0) text += (text.empty() ? "" : " ") + words[static_cast<size_t>(word)];
    }
    list[text] = count;
  }
  const nlohmann::json root{{"clips", static_cast<int64_t>(clips_)}, {"document_frequency", std::move(list)}};
  write_text_file(path, root.dump(0) + "\n");
}

MetricScores cider(std::span<const Segment> segments, const DocumentFrequencies& frequencies) {
  MetricScores result;
  result.per_segment.resize(segments.size());
  parallel_for(static_cast<int64_t>(segments.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      result.per_segment[static_cast<size_t>(i)] = score(segments[static_cast<size_t>(i)], frequencies);
    }
  });
  double sum = 0;
  for (const double one : result.per_segment) sum += one;
  result.corpus = segments.empty() ? 0 : sum / static_cast<double>(segments.size());
  return result;
}

}  // namespace clipcap
