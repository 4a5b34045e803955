// Captions for many clips: what validation counts, what `eval` scores and what reports show.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "clipcap/decoding/describe.h"
#include "clipcap/model_directory.h"

namespace clipcap {

/// What the model says about one clip, in words.
struct Prediction {
  std::string video_id;
  std::string caption;
  std::array<std::string, kAspects> aspects;  // empty where the sub-decoder is off
  double log_probability = 0;                 // of the caption, natural logarithm
  double score = 0;                           // the same, or a beam's length-penalised score
};

/// A clip to decode. `features` gives [n_b,d_v] when the clip's turn comes, so that clips need not
/// lie in memory.
struct ClipToDecode {
  std::string video_id;
  std::function<Tensor()> features;
};

struct DecodeOptions {
  SearchOptions search;
  size_t clips_at_once = 32;  // decoded together; the texts do not depend on it
  /// Called for each clip in order as soon as its texts are there.
  std::function<void(size_t index, const Prediction&)> each;
};

/// One prediction for each clip, in their order: predictions[i] belongs to the references that the caller
/// has for clips[i].
[[nodiscard]] std::vector<Prediction> decode_split(const CaptionModel& model,
                                                   const Vocabularies& vocabularies,
                                                   std::span<const ClipToDecode> clips,
                                                   const DecodeOptions& options = {});

}  // namespace clipcap
