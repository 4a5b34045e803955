// clipcap cache: where features and hashes are kept between runs, how much that is, and how much it may be.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/cache/cache_folder.h"
#include "tensor/check.h"
#include "tools/command.h"
#include "tools/output.h"

namespace clipcap::tools {
namespace {

struct Options {
  std::string limit;
  bool clear = false;
  bool as_json = false;
};

int run(const Options& options) {
  const std::filesystem::path folder = cache_folder();
  CHECK_INPUT(!folder.empty(), "no folder for a cache: CLIPCAP_CACHE, XDG_CACHE_HOME and HOME are not set");
  if (!options.limit.empty()) set_cache_limit(parse_size(options.limit, "--limit"));
  if (options.clear) {
    const CacheUse gone = clear_cache();
    std::fprintf(stderr, "removed %llu files, %s\n", static_cast<unsigned long long>(gone.files),
                 show_size(gone.bytes).c_str());
  }
  const CacheUse use = measure_cache();
  const CacheLimit limit = cache_limit();
  if (options.as_json) {
    print(nlohmann::json{{"folder", folder.string()},
                         {"files", use.files},
                         {"bytes", use.bytes},
                         {"limit", limit.bytes},
                         {"limit_from", limit.source}}
              .dump() +
          "\n");
    return 0;
  }
  print(concat_text(folder.string(), ": ", use.files, " files, ", show_size(use.bytes), " of at most ",
                    show_size(limit.bytes), " (", limit.source, ")\n"));
  return 0;
}

}  // namespace

void add_cache(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("cache", "What is kept between runs: where, how much, and how much it may be");
  command->add_option(
      "--limit", options->limit,
      "keep at most this much from now on, as in 20G (CLIPCAP_CACHE_SIZE goes before it); the files "
      "used longest ago go first");
  command->add_flag("--clear", options->clear, "remove everything that is kept");
  command->add_flag("--json", options->as_json, "print one JSON document");
  command->footer("Example: clipcap cache --limit 5G");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
