// Captions and features of a split as the trainer draws them: who comes when is a pure function of seed and
// step, so that a resumed run sees what the uninterrupted one would have.
#pragma once

#include <filesystem>
#include <functional>

#include "clipcap/data/annotations.h"
#include "clipcap/data/feature_extractor.h"
#include "clipcap/data/feature_file.h"
#include "clipcap/model_directory.h"
#include "clipcap/text/tokenizer.h"

namespace clipcap {

struct TrainingClip {
  std::string video_id;
  std::filesystem::path file;
  Tensor features;  // [n_b,d_v]; undefined when the encoder is trained too
  struct Caption {
    std::string text;
    std::vector<int32_t> ids;
    std::array<std::vector<std::vector<int32_t>>, kAspects> aspects;
  };
  std::vector<Caption> captions;
  std::array<std::vector<std::string>, kAspects> aspect_texts;  // every annotation, for comparing
};

/// Word vocabularies, one for captions and one shared by the commonsense aspects: V2C's dictionary files
/// where the configuration names them, otherwise built from the training split.
[[nodiscard]] Vocabularies make_vocabularies(const Dataset& dataset, const Config& config);

/// Clips of one split, with their features from `ready` or, where that is empty, encoded now. `progress(done,
/// all)` is called after each clip.
[[nodiscard]] std::vector<TrainingClip> load_clips(const Dataset& dataset, const std::string& split,
                                                   const Config& config, const Vocabularies& vocabularies,
                                                   const FeatureExtractor& extractor,
                                                   const ClipFeatures& ready,
                                                   const std::function<void(size_t, size_t)>& progress);

/// The text feature T_CLIP of captions: each is encoded once and kept. With encoder.weights the tower is
/// CLIP's own and reads the captions through CLIP's tokenizer; without, it is random and reads the captions'
/// words.
class Teacher {
 public:
  /// InputError when the checkpoint has no text tower, or the tokenizer is missing or another vocabulary's.
  Teacher(const Config& config, const Vocabularies& vocabularies);
  /// Rows of `captions` (ids with sos and eos): [B,e], or [B,n,e] resampled over each clip's frames.
  [[nodiscard]] Tensor features(const std::vector<const TrainingClip::Caption*>& captions,
                                const std::vector<int32_t>& lengths, int64_t n);

 private:
  /// The tower's tokens, the last one is where it pools.
  [[nodiscard]] std::vector<int32_t> tokens(const TrainingClip::Caption& caption) const;
  Config config_;
  std::unique_ptr<TextTower> tower_;
  std::unique_ptr<ClipTokenizer> tokenizer_;      // null: the captions' own ids
  std::map<std::vector<int32_t>, Tensor> known_;  // [1,e] or [L,e]
};

/// Draws batch number `step`.
class BatchSource {
 public:
  BatchSource(const std::vector<TrainingClip>& clips, const Config& config, const CaptionModel& model,
              Teacher* teacher, const FeatureExtractor& extractor);
  [[nodiscard]] Batch batch(int64_t step);
  /// Non-padding caption and commonsense tokens of the batch drawn last.
  [[nodiscard]] int64_t tokens() const { return tokens_; }

 private:
  [[nodiscard]] size_t clip_at(int64_t position);
  const std::vector<TrainingClip>& clips_;
  Config config_;
  const CaptionModel& model_;
  Teacher* teacher_;
  const FeatureExtractor& extractor_;
  int64_t epoch_ = -1;
  std::vector<size_t> order_;  // of the clips in epoch_
  int64_t tokens_ = 0;
};

}  // namespace clipcap
