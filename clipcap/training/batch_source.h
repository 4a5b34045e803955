// Which clips, captions and annotations a training step sees: a pure function of seed and step, so that a
// resumed run sees what the uninterrupted one would have.
#pragma once

#include <functional>

#include "clipcap/training/training_set.h"

namespace clipcap {

/// The p-th clip of a run is a shuffle's: each epoch goes through all clips once, in an order of its own.
/// Global batch number `step` is positions [step * train.batch, (step + 1) * train.batch); one caption of
/// each clip and one annotation of each of its aspects are drawn uniformly.
class BatchSource {
 public:
  /// Preprocessed frames [n_b,3,R,R] of a clip's file.
  using Frames = std::function<Tensor(const std::filesystem::path&)>;

  /// `frames` is asked only when the encoder is trained. The set is loaded for this configuration
  /// and outlives this.
  BatchSource(const TrainingSet& set, const Config& config, Frames frames = {});

  /// The share of `rank` among `ranks` (or of a micro-batch among several): a consecutive part of the global
  /// batch, padded to its own longest rows, with the denominators of the whole. ranks <= train.batch.
  [[nodiscard]] Batch batch(int64_t step, int64_t rank = 0, int64_t ranks = 1);

  /// What is drawn at a global position: a clip, one of its captions (numbered as in CaptionedClips) and, for
  /// each aspect, which annotation; -1 where the caption has none.
  struct Draw {
    size_t clip = 0;
    size_t caption = 0;
    std::array<int64_t, kAspects> annotations{};
  };
  [[nodiscard]] Draw draw(int64_t position);

 private:
  [[nodiscard]] size_t clip_at(int64_t position);
  [[nodiscard]] int64_t frame_count(size_t clip);
  const TrainingSet& set_;
  Config config_;
  Frames frames_;
  std::array<bool, kAspects> wanted_{};  // the sub-decoders that are on
  int64_t epoch_ = -1;
  std::vector<size_t> order_;          // of the clips in epoch_
  std::vector<int64_t> frame_counts_;  // of clips whose frames were read; 0: not yet
};

}  // namespace clipcap
