// Validation while training: the evaluation split decoded greedily and counted against its references.
#pragma once

#include "clipcap/decoding/decode_split.h"
#include "clipcap/training/captioned_clips.h"

namespace clipcap {

struct Evaluation {
  std::vector<Prediction> predictions;  // one a clip
  size_t equal = 0;                     // captions that are, word for word, one of their clip's references
  double cider = 0;                     // scores/cider.h, over lower-cased words; of two clips or more
};

/// `features(clip)`: [n_b,d_v] of the clip's number. `progress`, which may be empty, is told how many clips are
/// captioned.
[[nodiscard]] Evaluation evaluate(const CaptionModel& model, const Vocabularies& vocabularies,
                                  const CaptionedClips& clips, const std::function<Tensor(size_t)>& features,
                                  const std::function<void(size_t done)>& progress = {});

/// Whether a text is, word for word and in the vocabulary's words, one of the captions of a clip.
[[nodiscard]] bool equals_reference(const std::string& text, const CaptionedClips& clips, size_t clip,
                                    const Vocabulary& vocabulary);

}  // namespace clipcap
