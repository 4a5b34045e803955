// ROUGE-L (Lin 2004) as the COCO caption evaluation computes it.
#pragma once

#include <span>

#include "clipcap/scores/segment.h"

namespace clipcap {

/// From the longest common subsequence of the hypothesis and each reference: precision P = LCS / hypothesis
/// length and recall R = LCS / reference length, each the best over the references on its own;
/// F = (1 + b^2) P R / (R + b^2 P) with b = 1.2, 0 where P or R is. The corpus score is the mean. Words are the
/// pieces between single spaces, so two spaces in a row make an empty word, as in the reference.
[[nodiscard]] MetricScores rouge_l(std::span<const Segment> segments);

}  // namespace clipcap
