// clipcap train
#include <memory>
#include <optional>

#include "clipcap/training/training_run.h"
#include "tensor/check.h"
#include "tools/command.h"
#include "tools/output.h"

namespace clipcap::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string config = "msrvtt";
  std::vector<std::string> assignments;
  TrainOptions train;
  std::optional<uint64_t> seed;
  bool print_config = false;
  bool no_cache = false;
};

int run(const Options& options) {
  std::vector<std::string> assignments = options.assignments;
  if (options.seed) assignments.push_back("train.seed=" + std::to_string(*options.seed));
  const Config config = load_config(options.config, assignments);
  if (options.print_config) {
    print(print_config(config));
    return 0;
  }
  options.common.apply();
  CHECK_INPUT(!options.train.data.empty(), "train: --data is missing");
  CHECK_INPUT(options.train.check || !options.train.out.empty(), "train: --out is missing");
  TrainOptions chosen = options.train;
  chosen.cache_features = !options.no_cache;
  return train(config, chosen);
}

}  // namespace

void add_train(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Train a captioner on a folder of videos and annotations");
  command->add_option("--config", options->config, "preset name or JSON file")->required();
  command->add_option("--set", options->assignments, "override a key: --set train.lr=1e-4")->take_all();
  command->add_option("--data", options->train.data, "folder with videos, videodatainfo.json, V2C JSON");
  command->add_option("--out", options->train.out, "model directory to write");
  command->add_flag("--resume", options->train.resume, "go on from OUT/last");
  command->add_flag("--overwrite", options->train.overwrite, "replace the run or model that is in OUT");
  command->add_option("--seed", options->seed, "the same as --set train.seed=N")
      ->check(whole_number_to(1'000'000'000));
  command->add_flag("--check", options->train.check,
                    "read and judge the data, print what is known of it, and train nothing");
  command->add_flag("--print-config", options->print_config,
                    "print the whole configuration with comments, and end");
  command->add_flag("--no-cache", options->no_cache, "neither read nor write the feature cache");
  options->common.add_to(*command);
  command->footer("Example: clipcap train --config clips --data my-clips --out my-model");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
