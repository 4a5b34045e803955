// Training from configuration to model directory. The parts: what is learnt from (training_set.h), what a
// step sees (batch_source.h), when what is written (checkpoint_policy.h), how a run is judged (evaluation.h);
// the loop is here.
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

struct TrainOptions {
  std::filesystem::path data;
  std::filesystem::path out;
  bool resume = false;
  bool cache_features = true;
  std::function<void(const StepReport&)> on_step;  // after every step
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
  /// One optimizer step on global batch number `step`. Error when the loss is not finite.
  StepReport step(int64_t step);
  /// The evaluation split, captioned by the model as it is.
  [[nodiscard]] Evaluation evaluate() const;

  /// Writes the model directory and, in last/, what resuming needs.
  void save(const std::filesystem::path& directory, int64_t step);
  /// Goes on from last/ of a directory; returns the step.
  int64_t resume(const std::filesystem::path& directory);

  [[nodiscard]] CaptionModel& model() { return *model_; }

 private:
  Config config_;
  TrainingSet& set_;
  bool cache_;
  std::unique_ptr<CaptionModel> model_;
  FeatureExtractor extractor_;
  Generator dropout_;
  nn::AdamW optimizer_;
  std::unique_ptr<BatchSource> source_;
};

/// Trains, writing `out` as model_directory.h describes; progress goes to stderr, one JSON line a report to
/// out/metrics.jsonl. Returns 0, or 128 + n when signal n ended it (after saving).
int train(const Config& config, const TrainOptions& options);

}  // namespace clipcap
