// clipcap drawn-clips: the small drawn data set that the demo trains on.
#include <memory>

#include "clipcap/terminal/console.h"
#include "clipcap/world/drawn_clips.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {
struct Options {
  std::string out;
  int clips = 12;
  uint64_t seed = 1;
};
}  // namespace

void add_drawn_clips(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("drawn-clips", "Draw short captioned clips and encode them as video files");
  command->add_option("--out", options->out, "folder to write")->required();
  command->add_option("--clips", options->clips, "how many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "another seed, other clips")
      ->check(whole_number_to(UINT64_MAX))
      ->capture_default_str();
  command->footer(
      "Example: clipcap drawn-clips --out drawn && clipcap train --config clips --data drawn --out model");
  command->callback([options, &chosen] {
    chosen = [options] {
      write_drawn_clips(options->out, options->clips, options->seed);
      log_line(options->clips, " clips in ", options->out);
      return 0;
    };
  });
}

}  // namespace clipcap::tools
