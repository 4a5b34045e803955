// When a run reports, evaluates and writes. Apart from the loop, so that it can be read and tested by itself.
#pragma once

#include "clipcap/config/config.h"

namespace clipcap {

/// What is to be done after a step.
struct StepDuties {
  bool report = false;      // a line of losses on stderr
  bool record = false;      // the same in metrics.jsonl: at the same steps however often a run is resumed
  bool checkpoint = false;  // last/, for resuming, and the model directory
  bool evaluate = false;    // decode the evaluation split, after the checkpoint
  bool stop = false;        // the run ends here
};

class CheckpointPolicy {
 public:
  /// `first_step`: where this run (or its resumption) begins.
  CheckpointPolicy(const TrainConfig& config, int64_t first_step)
      : config_(config), first_step_(first_step) {}

  /// After `step` steps have been done in all. An interrupted run writes a checkpoint whenever it stops,
  /// and a run that reaches train.steps reports, evaluates (unless eval_every is 0) and writes whatever
  /// the intervals say. An evaluation is never the first to come after a step: it may take long or fail.
  [[nodiscard]] StepDuties after(int64_t step, bool interrupted) const {
    const bool last = step >= config_.steps;
    const auto due = [&](int64_t every) { return every > 0 && (step % every == 0 || last); };
    StepDuties duties;
    duties.record = due(config_.log_every) || last || step == 1;
    duties.report = duties.record || step == first_step_ + 1;
    duties.evaluate = due(config_.eval_every);
    duties.checkpoint = due(config_.checkpoint_every) || last || interrupted ||
                        (duties.evaluate && config_.checkpoint_every > 0);
    duties.stop = last || interrupted;
    return duties;
  }

 private:
  TrainConfig config_;
  int64_t first_step_;
};

}  // namespace clipcap
