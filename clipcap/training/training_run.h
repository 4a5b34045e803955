// A training run from configuration to model directory: prepared, resumed, looped, interrupted, ended.
//
//   OUT/  model.safetensors, config.json, vocab.json   the model as of the last checkpoint
//         metrics.jsonl                                a line a report and an evaluation
//         last/checkpoint.safetensors                  what --resume goes on from; there from step 0 on
//         best/                                        the model of the best evaluation so far
//
// Killed at any moment, OUT resumes to the bytes of a run that never was: each file is replaced as a whole, the
// model before the checkpoint that says that it is there, the checkpoint before the evaluation of its step.
#pragma once

#include "clipcap/training/trainer.h"

namespace clipcap {

struct TrainOptions {
  std::filesystem::path data;
  std::filesystem::path out;
  bool resume = false;
  bool overwrite = false;  // a run that is there makes way, once the data has been read
  bool cache_features = true;
  bool check = false;  // judge the data, say on stdout what is known of it, and end: `out` is not touched
  std::function<void(const StepReport&)> on_step;  // after every step
};

/// Trains; progress goes to stderr. Returns 0, or 128 + n when signal n, or a broken stderr (n = SIGPIPE),
/// ended it after saving. InputError for what the user can mend, such as an `out` that holds a run, that
/// cannot be written to or that another process writes to; Error when the training diverges.
int train(const Config& config, const TrainOptions& options);

}  // namespace clipcap
