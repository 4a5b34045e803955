#include "clipcap/scores/meteor.h"

#include <libstemmer.h>

#include <atomic>
#include <cmath>
#include <optional>
#include <unordered_set>

#include "clipcap/scores/function_words.h"
#include "clipcap/scores/meteor_aligner.h"
#include "clipcap/scores/meteor_normalizer.h"
#include "clipcap/scores/ngrams.h"
#include "clipcap/scores/paraphrase_table.h"
#include "clipcap/scores/word_net.h"
#include "clipcap/text/unicode.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

constexpr double kAlpha = 0.85;
constexpr double kBeta = 0.2;
constexpr double kGamma = 0.6;
constexpr double kDelta = 0.75;
constexpr double kStageWeights[kMeteorStages] = {1.0, 0.6, 0.8, 0.6};
constexpr size_t kMostListBytes = 1U << 20U;

// Java's String.hashCode, of UTF-16.
int32_t java_hash(const std::string& word) {
  uint32_t hash = 0;
  for (const char32_t c : decode_utf8(word)) {
    if (c < 0x10000) {
      hash = hash * 31 + c;
    } else {
      hash = hash * 31 + (0xD800 + ((c - 0x10000) >> 10U));
      hash = hash * 31 + (0xDC00 + ((c - 0x10000) & 0x3FFU));
    }
  }
  return static_cast<int32_t>(hash);
}

// Snowball's English stemmer; one a thread.
class Stemmer {
 public:
  Stemmer() : stemmer_(sb_stemmer_new("english", nullptr), &sb_stemmer_delete) {
    CHECK(stemmer_ != nullptr, "meteor: libstemmer has no English stemmer");
  }
  std::string stem(const std::string& word) {
    const sb_symbol* stem = sb_stemmer_stem(stemmer_.get(), reinterpret_cast<const sb_symbol*>(word.data()),
                                            static_cast<int>(word.size()));
    CHECK(stem != nullptr, "meteor: no memory to stem a word");
    return {reinterpret_cast<const char*>(stem), static_cast<size_t>(sb_stemmer_length(stemmer_.get()))};
  }

 private:
  std::unique_ptr<sb_stemmer, void (*)(sb_stemmer*)> stemmer_;
};

// The first of the places where `name` may be; empty when it is in none.
std::filesystem::path find_file(const std::filesystem::path& folder, const char* part, const char* name) {
  for (const std::filesystem::path& place :
       {folder / name, folder / part / name, folder / "resources" / part / name}) {
    std::error_code error;
    if (std::filesystem::is_regular_file(place, error)) return place;
  }
  return {};
}

std::filesystem::path need_file(const std::filesystem::path& folder, const char* part, const char* name) {
  const std::filesystem::path found = find_file(folder, part, name);
  CHECK_INPUT(!found.empty(), folder.string(), ": no ", name, " in this folder or its ", part,
              "/ (METEOR's data: english.synsets, english.exceptions, english.words)");
  return found;
}

std::unordered_set<int32_t> hashes_of(std::span<const std::string_view> words) {
  std::unordered_set<int32_t> hashes;
  for (const std::string_view word : words) hashes.insert(java_hash(std::string(word)));
  return hashes;
}

// The evaluation talks to METEOR in lines whose parts "|||" separates, and takes it out of hypotheses.
std::string without_separators(std::string text) {
  for (size_t at = text.find("|||"); at != std::string::npos; at = text.find("|||", at)) text.erase(at, 3);
  return text;
}

using WordPointers = std::vector<const MeteorWord*>;

MeteorCounts count(const WordPointers& hypothesis, const WordPointers& reference,
                   const MeteorAlignment& alignment) {
  MeteorCounts counts;
  counts.hypothesis_length = static_cast<double>(hypothesis.size());
  counts.reference_length = static_cast<double>(reference.size());
  for (const MeteorWord* word : hypothesis) counts.hypothesis_function_words += word->is_function ? 1 : 0;
  for (const MeteorWord* word : reference) counts.reference_function_words += word->is_function ? 1 : 0;
  const auto add = [](const WordPointers& words, int32_t start, int32_t length, double& content,
                      double& function) {
    for (int32_t k = start; k < start + length; ++k)
      (words[static_cast<size_t>(k)]->is_function ? function : content) += 1;
  };
  for (const MeteorMatch& match : alignment.matches) {
    const auto stage = static_cast<size_t>(match.stage);
    add(hypothesis, match.hypothesis_start, match.hypothesis_length, counts.hypothesis_content[stage],
        counts.hypothesis_function[stage]);
    add(reference, match.reference_start, match.reference_length, counts.reference_content[stage],
        counts.reference_function[stage]);
    counts.hypothesis_matches += match.hypothesis_length;
    counts.reference_matches += match.reference_length;
  }
  counts.chunks = alignment.chunks;
  if (counts.is_perfect()) counts.chunks = 0;
  return counts;
}

}  // namespace

bool MeteorCounts::is_perfect() const {
  return hypothesis_matches == hypothesis_length && reference_matches == reference_length && chunks <= 1;
}

void MeteorCounts::add(const MeteorCounts& other) {
  hypothesis_length += other.hypothesis_length;
  reference_length += other.reference_length;
  hypothesis_function_words += other.hypothesis_function_words;
  reference_function_words += other.reference_function_words;
  for (size_t i = 0; i < kMeteorStages; ++i) {
    hypothesis_content[i] += other.hypothesis_content[i];
    reference_content[i] += other.reference_content[i];
    hypothesis_function[i] += other.hypothesis_function[i];
    reference_function[i] += other.reference_function[i];
  }
  chunks += other.chunks;
  hypothesis_matches += other.hypothesis_matches;
  reference_matches += other.reference_matches;
}

double MeteorCounts::score() const {
  double hypothesis_weight = 0;
  double reference_weight = 0;
  for (size_t i = 0; i < kMeteorStages; ++i) {
    const double weight = kStageWeights[i];
    hypothesis_weight += weight * (kDelta * hypothesis_content[i] + (1 - kDelta) * hypothesis_function[i]);
    reference_weight += weight * (kDelta * reference_content[i] + (1 - kDelta) * reference_function[i]);
  }
  if (hypothesis_weight == 0 || reference_weight == 0) return 0;
  const auto weighted_length = [](double length, double function_words) {
    return kDelta * (length - function_words) + (1 - kDelta) * function_words;
  };
  const double precision = hypothesis_weight / weighted_length(hypothesis_length, hypothesis_function_words);
  const double recall = reference_weight / weighted_length(reference_length, reference_function_words);
  const double mean = 1 / ((1 - kAlpha) / precision + kAlpha / recall);
  const double fragmentation = chunks / ((hypothesis_matches + reference_matches) / 2);
  return mean * (1 - kGamma * std::pow(fragmentation, kBeta));
}

struct Meteor::Data {
  std::optional<WordNet> synonyms;
  std::unordered_set<int32_t> function_words;  // by hash
  Abbreviations abbreviations;
  std::filesystem::path paraphrases;
  std::string synonyms_from;
  std::string paraphrases_from;
  bool own_function_words = false;
};

Meteor::Meteor(std::unique_ptr<Data> data) : data_(std::move(data)) {}
Meteor::~Meteor() = default;
Meteor::Meteor(Meteor&&) noexcept = default;
Meteor& Meteor::operator=(Meteor&&) noexcept = default;

Meteor Meteor::load(const MeteorSources& sources) {
  auto data = std::make_unique<Data>();
  const std::filesystem::path& folder = sources.folder;
  data->abbreviations = common_abbreviations();
  data->paraphrases = sources.paraphrases;
  if (!folder.empty()) {
    const std::filesystem::path synsets = need_file(folder, "synonym", "english.synsets");
    data->synonyms = WordNet::read_meteor_files(synsets, need_file(folder, "synonym", "english.exceptions"));
    data->synonyms_from = folder.string();
    const std::string words = read_text_file(need_file(folder, "function", "english.words"), kMostListBytes);
    data->function_words = hashes_of(split_white_space(words));
    data->own_function_words = true;
    const std::filesystem::path prefixes = find_file(folder, "nonbreaking", "english.prefixes");
    if (!prefixes.empty())
      data->abbreviations = parse_abbreviations(read_text_file(prefixes, kMostListBytes));
    if (data->paraphrases.empty()) data->paraphrases = find_file(folder, "data", "paraphrase-en.gz");
  } else {
    std::error_code error;
    if (std::filesystem::is_regular_file(sources.word_net / "index.noun", error)) {
      data->synonyms = WordNet::read_database(sources.word_net);
      data->synonyms_from = sources.word_net.string();
    }
    data->function_words = hashes_of(common_function_words());
  }
  if (!data->paraphrases.empty()) {
    CHECK_INPUT(std::filesystem::is_regular_file(data->paraphrases), data->paraphrases.string(),
                ": no such paraphrase table");
    data->paraphrases_from = data->paraphrases.string();
  }
  return Meteor(std::move(data));
}

std::vector<std::string> Meteor::stages() const {
  std::vector<std::string> stages{"exact", "stem"};
  if (data_->synonyms) stages.emplace_back("synonym");
  if (!data_->paraphrases.empty()) stages.emplace_back("paraphrase");
  return stages;
}

const std::string& Meteor::synonyms_from() const { return data_->synonyms_from; }
const std::string& Meteor::paraphrases_from() const { return data_->paraphrases_from; }
bool Meteor::has_own_function_words() const { return data_->own_function_words; }

MetricScores Meteor::score(std::span<const Segment> segments,
                           const std::function<void(int64_t done)>& progress) const {
  const auto all = static_cast<int64_t>(segments.size());
  // By segment: the hypothesis, then its references.
  std::vector<std::vector<std::vector<std::string>>> words(segments.size());
  parallel_for(all, 16, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      words[i].push_back(meteor_words(without_separators(segments[i].hypothesis), data_->abbreviations));
      for (const std::string& reference : segments[i].references)
        words[i].push_back(meteor_words(reference, data_->abbreviations));
    }
  });
  WordIds ids;
  std::vector<std::vector<std::vector<int32_t>>> numbers(segments.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    for (const auto& caption : words[i]) {
      std::vector<int32_t>& own = numbers[i].emplace_back();
      for (const std::string& word : caption) own.push_back(ids.id(word));
    }
    words[i] = {};
  }
  // Stems and synonyms once for every different word.
  const std::vector<std::string> spellings = ids.words();
  std::vector<MeteorWord> known(spellings.size());
  parallel_for(ids.size(), 256, [&](int64_t begin, int64_t end) {
    Stemmer stemmer;
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      MeteorWord& word = known[i];
      word.number = static_cast<int32_t>(i);
      word.hash = java_hash(spellings[i]);
      word.stem_hash = java_hash(stemmer.stem(spellings[i]));
      word.is_function = data_->function_words.contains(word.hash);
      if (data_->synonyms) word.synsets = data_->synonyms->synsets(spellings[i]);
    }
  });
  std::optional<ParaphraseTable> paraphrases;
  if (!data_->paraphrases.empty())
    paraphrases =
        ParaphraseTable::read(data_->paraphrases, [&](std::string_view word) { return ids.find(word); });

  std::vector<MeteorCounts> best(segments.size());
  MetricScores result;
  result.per_segment.resize(segments.size(), 0);
  std::atomic<int64_t> done{0};
  const auto pointers = [&](const std::vector<int32_t>& caption) {
    WordPointers pointers;
    for (const int32_t word : caption) pointers.push_back(&known[static_cast<size_t>(word)]);
    return pointers;
  };
  const auto score_one = [&](size_t i) {
    const WordPointers hypothesis = pointers(numbers[i][0]);
    for (size_t r = 1; r < numbers[i].size(); ++r) {
      const WordPointers reference = pointers(numbers[i][r]);
      const MeteorCounts counts =
          count(hypothesis, reference, align(hypothesis, reference, paraphrases ? &*paraphrases : nullptr));
      const double score = counts.score();
      if (r > 1 && score <= result.per_segment[i]) continue;
      result.per_segment[i] = score;
      best[i] = counts;
    }
    if (progress) progress(++done);
  };
  parallel_for(all, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      try {
        score_one(static_cast<size_t>(i));
      } catch (const InputError& error) {
        fail_input("clip ", i + 1, " of ", all, ": ", error.what());
      }
    }
  });
  MeteorCounts sum;
  for (const MeteorCounts& counts : best) sum.add(counts);
  result.corpus = sum.score();
  return result;
}

}  // namespace clipcap
