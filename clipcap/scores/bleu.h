// BLEU (Papineni et al. 2002) as the COCO caption evaluation computes it.
#pragma once

#include <array>
#include <span>

#include "clipcap/scores/segment.h"

namespace clipcap {

/// BLEU-1 to BLEU-4, as fractions.
///   p_n   = (sum of clipped matches + 1e-15) / (sum of hypothesis n-grams + 1e-9)
///   BLEU-k = (p_1 ... p_k)^(1/k) * min(1, exp(1 - r / c))
/// A hypothesis n-gram matches at most as often as in the reference that has it most often. c is the length of
/// all hypotheses, r the sum of each clip's closest reference length, the shorter of two equally close ones.
/// per_segment is the same of each clip alone.
[[nodiscard]] std::array<MetricScores, 4> bleu(std::span<const Segment> segments);

}  // namespace clipcap
