// Training from configuration to model directory.
#pragma once

#include <filesystem>

#include "clipcap/config/config.h"

namespace clipcap {

struct TrainOptions {
  std::filesystem::path data;
  std::filesystem::path out;
  bool resume = false;
  bool cache_features = true;
};

/// Trains, writing `out` as model_directory.h describes; progress goes to stderr, one JSON line a report to
/// out/metrics.jsonl. Returns 0, or 130 when Ctrl-C ended it (after saving).
int train(const Config& config, const TrainOptions& options);

}  // namespace clipcap
