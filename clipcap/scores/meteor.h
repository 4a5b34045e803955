// METEOR 1.5 for English (Denkowski and Lavie 2014), as the COCO caption evaluation runs it: -l en -norm, task
// "rank". Words: meteor_normalizer.h; which of them match: meteor_aligner.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "clipcap/scores/segment.h"

namespace clipcap {

/// Where METEOR's word lists come from.
struct MeteorSources {
  /// A folder with METEOR's english.synsets, english.exceptions and english.words, and english.prefixes where
  /// there is one: flat, or in synonym/, function/ and nonbreaking/ as METEOR ships them. Its paraphrase table
  /// (paraphrase-en.gz, also in data/) is used when it is there. Empty: WordNet's database instead.
  std::filesystem::path folder;
  /// The paraphrase table, wherever it is.
  std::filesystem::path paraphrases;
  /// WordNet's own files, as Debian's wordnet-base has them. Without them the synonym stage is left out.
  std::filesystem::path word_net = "/usr/share/wordnet";
};

/// Counts over one hypothesis and its best reference, or sums of them.
struct MeteorCounts {
  double hypothesis_length = 0;
  double reference_length = 0;
  double hypothesis_function_words = 0;
  double reference_function_words = 0;
  // By stage: of content words and of function words.
  double hypothesis_content[4] = {}, reference_content[4] = {};
  double hypothesis_function[4] = {}, reference_function[4] = {};
  double chunks = 0;
  double hypothesis_matches = 0;
  double reference_matches = 0;

  /// Both sides matched whole and in one piece: no chunk is counted, so nothing is taken off.
  [[nodiscard]] bool is_perfect() const;
  void add(const MeteorCounts& other);
  /// P and R: weighted matches over weighted length, a match of stage i weighing 1, 0.6, 0.8 or 0.6 and a
  /// content word 0.75 against a function word's 0.25;
  ///   (1 - 0.6 (chunks / matches)^0.2) / (0.15 / P + 0.85 / R), matches the mean over both sides.
  [[nodiscard]] double score() const;
};

class Meteor {
 public:
  /// Reads the word lists, but the paraphrase table with each score(). InputError naming the file.
  [[nodiscard]] static Meteor load(const MeteorSources& sources);
  ~Meteor();
  Meteor(Meteor&&) noexcept;
  Meteor& operator=(Meteor&&) noexcept;

  /// Of each segment the reference with the highest score; the corpus score is that of the summed counts.
  /// `progress`, which may be empty, is told how many segments are done, from any thread. InputError naming
  /// the segment by its place for captions too long to be aligned.
  [[nodiscard]] MetricScores score(std::span<const Segment> segments,
                                   const std::function<void(int64_t done)>& progress) const;

  /// "exact", "stem", then "synonym" and "paraphrase" where their data is.
  [[nodiscard]] std::vector<std::string> stages() const;
  /// Where the synonyms came from; empty without that stage.
  [[nodiscard]] const std::string& synonyms_from() const;
  [[nodiscard]] const std::string& paraphrases_from() const;
  /// The function words are METEOR's own, not our list of common ones.
  [[nodiscard]] bool has_own_function_words() const;

 private:
  struct Data;
  explicit Meteor(std::unique_ptr<Data> data);
  std::unique_ptr<Data> data_;
};

}  // namespace clipcap
