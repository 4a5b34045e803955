// When a run reports, evaluates, writes and stops; and the file of its reports.
#include "clipcap/training/checkpoint_policy.h"

#include <nlohmann/json.hpp>

#include "clipcap/training/metrics_file.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Steps = std::vector<int64_t>;

struct Run {
  Steps reports, records, evaluations, checkpoints;
  int64_t stopped = 0;
};

Run follow(const TrainConfig& config, int64_t first, int64_t interrupted_at = -1) {
  const CheckpointPolicy policy(config, first);
  Run run;
  for (int64_t step = first + 1; run.stopped == 0; ++step) {
    const StepDuties duties = policy.after(step, step == interrupted_at);
    if (duties.report) run.reports.push_back(step);
    if (duties.record) run.records.push_back(step);
    if (duties.evaluate) run.evaluations.push_back(step);
    if (duties.checkpoint) run.checkpoints.push_back(step);
    if (duties.stop) run.stopped = step;
  }
  return run;
}

TrainConfig intervals(int64_t steps, int64_t log, int64_t evaluate, int64_t checkpoint) {
  TrainConfig config;
  config.steps = steps;
  config.log_every = log;
  config.eval_every = evaluate;
  config.checkpoint_every = checkpoint;
  return config;
}

}  // namespace

TEST_CASE("intervals, the first step and the last", "[checkpoint_policy]") {
  const Run run = follow(intervals(10, 4, 3, 5), 0);
  CHECK(run.reports == Steps{1, 4, 8, 10});
  CHECK(run.evaluations == Steps{3, 6, 9, 10});
  CHECK(run.records == run.reports);
  CHECK(run.checkpoints == Steps{3, 5, 6, 9, 10});  // one before each evaluation too
  CHECK(run.stopped == 10);
}

TEST_CASE("0 means never, but a run ends with a checkpoint", "[checkpoint_policy]") {
  const Run run = follow(intervals(7, 100, 0, 0), 0);
  CHECK(run.reports == Steps{1, 7});
  CHECK(run.evaluations.empty());
  CHECK(run.checkpoints == Steps{7});
}

TEST_CASE("a resumed run keeps the intervals of the whole", "[checkpoint_policy]") {
  const Run run = follow(intervals(12, 5, 4, 6), 7);
  CHECK(run.reports == Steps{8, 10, 12});
  CHECK(run.records == Steps{10, 12});  // metrics.jsonl is that of the whole
  CHECK(run.evaluations == Steps{8, 12});
  CHECK(run.checkpoints == Steps{8, 12});
}

TEST_CASE("an interrupted run writes where it stops", "[checkpoint_policy]") {
  const Run run = follow(intervals(100, 10, 0, 50), 0, 3);
  CHECK(run.checkpoints == Steps{3});
  CHECK(run.stopped == 3);
}

TEST_CASE("metrics: lines of steps that are done again are dropped", "[checkpoint_policy]") {
  const TemporaryFolder folder("metrics");
  const std::filesystem::path path = folder.path() / "metrics.jsonl";
  {
    MetricsFile fresh(path, 0);
    for (const int step : {1, 5, 10}) fresh.append({{"step", step}, {"loss", 0.5}});
    CHECK(file_bytes(path) ==
          "{\"loss\":0.5,\"step\":1}\n{\"loss\":0.5,\"step\":5}\n{\"loss\":0.5,\"step\":10}\n");
  }
  std::ofstream(path, std::ios::app) << "{\"step\":3,\"lo";  // killed while it wrote
  {
    MetricsFile resumed(path, 5);
    CHECK(file_bytes(path) == "{\"loss\":0.5,\"step\":1}\n{\"loss\":0.5,\"step\":5}\n");
    resumed.append({{"step", 6}});
  }
  CHECK(file_bytes(path) == "{\"loss\":0.5,\"step\":1}\n{\"loss\":0.5,\"step\":5}\n{\"step\":6}\n");
  MetricsFile again(path, 0);
  CHECK(file_bytes(path).empty());
  CHECK_THROWS_AS(MetricsFile(folder.path() / "absent" / "metrics.jsonl", 0), Error);
}

}  // namespace clipcap
