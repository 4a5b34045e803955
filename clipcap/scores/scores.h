// The front door of this room: tokenised captions in, every metric out. `clipcap score`, evaluation and the
// choice of the best checkpoint while training use it.
//
//   tokenize_captions(CaptionTokenizer::ptb, segments);
//   const Scores scores = score_captions(segments, {});
//   scores.cider.corpus; scores.bleu[3].per_segment[i];
//
// CIDEr alone: cider(segments, DocumentFrequencies::of_references(segments)).
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>

#include "clipcap/scores/bleu.h"
#include "clipcap/scores/cider.h"
#include "clipcap/scores/meteor.h"
#include "clipcap/scores/rouge_l.h"
#include "clipcap/scores/segment.h"
#include "clipcap/scores/tokenization.h"

namespace clipcap {

struct ScoreOptions {
  const DocumentFrequencies* frequencies = nullptr;  // CIDEr's; nullptr: of the references in hand
  const Meteor* meteor = nullptr;                    // nullptr: without METEOR
  std::function<void(int64_t done)> progress = {};   // segments done by METEOR; from any thread
};

struct Scores {
  std::array<MetricScores, 4> bleu;
  MetricScores rouge_l;
  MetricScores cider;
  std::optional<MetricScores> meteor;
};

[[nodiscard]] Scores score_captions(std::span<const Segment> segments, const ScoreOptions& options);

}  // namespace clipcap
