// From features to everything that the model says about a clip: commonsense first, then the caption.
#pragma once

#include <array>
#include <vector>

#include "clipcap/decoding/search.h"

namespace clipcap {

/// What the model says about each clip.
struct ClipTexts {
  Hypothesis caption;
  std::array<Hypothesis, kAspects> aspects;  // empty where the sub-decoder is off
};

/// Features [B,n,d_v] to texts: each sub-decoder writes greedily, then the caption decoder by `options`.
[[nodiscard]] std::vector<ClipTexts> describe_clips(const CaptionModel& model, const Tensor& features,
                                                    const std::vector<int32_t>& lengths,
                                                    const SearchOptions& options);

}  // namespace clipcap
