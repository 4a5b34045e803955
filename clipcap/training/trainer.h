// What changes while training, and one step of it. The other parts: what is learnt from (training_set.h), what
// a step sees (batch_source.h), when what is written (checkpoint_policy.h), how a run is judged (evaluation.h),
// and the loop (training_run.h).
#pragma once

#include <filesystem>

#include "clipcap/training/batch_source.h"
#include "clipcap/training/evaluation.h"
#include "nn/optim.h"

namespace clipcap {

/// One step's losses (eq. 7 and 8; 0 where a part is off) and what the optimizer did.
struct StepReport {
  int64_t step = 0;  // steps done, this one included
  double loss = 0;
  double caption = 0;
  double distill = 0;
  std::array<double, kAspects> aspects{};
  double grad_norm = 0;  // before clipping
  double lr = 0;
  double tokens = 0;  // predicted by all decoders together
};

/// A model, its optimizer and its random numbers: everything that changes while training.
class Trainer {
 public:
  /// A fresh model of the configuration over what `set` holds: seconds. `set` outlives the trainer and serves
  /// the configuration (TrainingSet::serves). `cache`: features are kept between runs.
  Trainer(const Config& config, TrainingSet& set, bool cache);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Loads what the set still lacks for this run; hours when all clips have to be encoded.
  void load_data(const TrainingSet::Progress& progress);
  /// One optimizer step on global batch number `step`, in train.accumulate shares of the batch. Error, which
  /// names the step, the clips and the last good checkpoint, when the loss or the gradient is not finite;
  /// Interrupted between two shares. Nothing has changed then.
  StepReport step(int64_t step);
  /// The evaluation split, captioned by the model as it is.
  [[nodiscard]] Evaluation evaluate(const std::function<void(size_t done)>& progress = {}) const;

  /// Writes the model directory and, in last/, what resuming needs; of step 0 only the latter. Only what can
  /// be gone on from: Error, as from step(), and nothing written, when a weight or a moment is not finite, or
  /// the loss on the next batch.
  void save(const std::filesystem::path& directory, int64_t step);
  /// Writes the model alone, with the score that made it the best, into `directory` (made if need be).
  void save_best(const std::filesystem::path& directory, const std::map<std::string, std::string>& notes);
  /// Goes on from last/ of a directory, whose saved run this is.
  void resume(const std::filesystem::path& directory, const TrainingState& state);
  /// Of the data as loaded (data_digest.h).
  [[nodiscard]] const std::map<std::string, std::string>& data() const { return data_; }

  [[nodiscard]] CaptionModel& model() { return *model_; }

 private:
  [[noreturn]] void fail_diverged(int64_t step, const std::string& what) const;
  void check_good(int64_t step);
  void encoder_backward(const Batch& batch) const;
  Config config_;
  TrainingSet& set_;
  bool cache_;
  std::unique_ptr<CaptionModel> model_;
  FeatureExtractor extractor_;
  Generator dropout_;
  nn::AdamW optimizer_;
  std::unique_ptr<BatchSource> source_;
  std::map<std::string, std::string> data_;
  std::string last_good_;  // in words
};

}  // namespace clipcap
