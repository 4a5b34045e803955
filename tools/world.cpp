// clipcap world: the generated world as a data set.
#include <cstdio>
#include <memory>

#include "clipcap/media/png_writer.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/terminal/console.h"
#include "clipcap/world/world.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string out;
  std::string sheet;
  world::WorldOptions world;
};

int run(const Options& options) {
  options.common.apply();
  CHECK_INPUT(!options.out.empty() || !options.sheet.empty(), "world: --out is missing");
  if (!options.sheet.empty()) write_png(options.sheet, world::contact_sheet(options.world, 6));
  if (options.out.empty()) return 0;
  const InterruptGuard guard;
  world::write_world(options.out, options.world, [&](int done) {
    check_interrupted();
    if (done % 100 == 0 || done == options.world.clips)
      log_line("world: ", done, " of ", options.world.clips, " clips");
  });
  if (options.world.clips < world::kSmallestSplitWorld)
    log_line("world: fewer than ", world::kSmallestSplitWorld, " clips: all are for training");
  return 0;
}

}  // namespace

void add_world(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("world", "Generate a captioned world: video files and annotations");
  command->add_option("--out", options->out, "folder to write");
  command->add_option("--clips", options->world.clips, "how many")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--seed", options->world.seed, "another seed, another world")->capture_default_str();
  command->add_option("--sheet", options->sheet,
                      "write a contact sheet (PNG): six moments of every kind of event");
  options->common.add_to(*command);
  command->footer(
      "Example: clipcap world --out world --clips 920 && clipcap train --config world --data world --out "
      "model");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
