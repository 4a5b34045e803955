#include "clipcap/scores/scores.h"

namespace clipcap {

Scores score_captions(std::span<const Segment> segments, const ScoreOptions& options) {
  Scores scores;
  scores.bleu = bleu(segments);
  scores.rouge_l = rouge_l(segments);
  scores.cider = options.frequencies != nullptr
                     ? cider(segments, *options.frequencies)
                     : cider(segments, DocumentFrequencies::of_references(segments));
  if (options.meteor != nullptr) scores.meteor = options.meteor->score(segments, options.progress);
  return scores;
}

}  // namespace clipcap
