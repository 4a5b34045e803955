// METEOR's alignment: which words of a hypothesis stand for which words of a reference.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "clipcap/scores/paraphrase_table.h"

namespace clipcap {

/// METEOR's stages: where a match comes from.
enum class MeteorStage : uint8_t { exact, stem, synonym, paraphrase };
inline constexpr size_t kMeteorStages = 4;

/// What the stages compare of a word. Words are equal where METEOR's hash of them is.
struct MeteorWord {
  int32_t number = 0;            // of this spelling, for the paraphrase table
  int32_t hash = 0;              // Java's String.hashCode
  int32_t stem_hash = 0;         // of its stem
  bool is_function = false;      // "the", "of", ...
  std::vector<int32_t> synsets;  // sorted
};

/// A phrase of the reference and one of the hypothesis, in words from the start of each.
struct MeteorMatch {
  int32_t reference_start;
  int32_t reference_length;
  int32_t hypothesis_start;
  int32_t hypothesis_length;
  MeteorStage stage;
};

struct MeteorAlignment {
  std::vector<MeteorMatch> matches;  // by their place in the reference
  int32_t chunks = 0;                // runs of matches that are continuous in both
};

/// A beam search over the reference's words, 40 wide, for the most matched words, then the fewest chunks, then
/// the least distance between places. Here an exact match weighs 1 and any other 1/2 a word (the score has other
/// weights), added up in whole numbers as METEOR does: a single stem or synonym adds nothing. Matches without
/// any rival are taken beforehand. `paraphrases` may be null. InputError for more than four million possible
/// matches.
[[nodiscard]] MeteorAlignment align(std::span<const MeteorWord* const> hypothesis,
                                    std::span<const MeteorWord* const> reference,
                                    const ParaphraseTable* paraphrases);

}  // namespace clipcap
