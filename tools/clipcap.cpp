// The clipcap program: parses the subcommand, runs it, turns exceptions into exit codes.
//   0 done;  1 anything that is not the user's fault;  2 wrong input, one line on stderr;  128+n signal n.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "clipcap/process/interrupt.h"
#include "clipcap/terminal/console.h"
#include "clipcap/terminal/printable.h"
#include "tensor/check.h"
#include "tools/command.h"
#include "tools/output.h"

namespace {

// One line whatever the message holds: file names may contain line breaks.
int failed(int code, const std::string& text) {
  std::fprintf(stderr, "clipcap: %s\n", clipcap::printable(text).c_str());
  return code;
}

// The arguments as CLI11 wants them, the last one first. It reads an argument "[a, b]" as the list of a and
// b; where arguments are texts, a space behind the bracket keeps it one text, which means the same to them.
std::vector<std::string> reversed_arguments(std::vector<std::string> arguments) {
  const bool texts = !arguments.empty() && (arguments[0] == "tokenize" || arguments[0] == "encode");
  for (std::string& argument : arguments) {
    if (texts && argument.starts_with('[') && argument.ends_with(']')) argument += ' ';
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

int run(const std::vector<std::string>& arguments) {
  namespace tools = clipcap::tools;
  CLI::App app{"CLIP4VideoCap: train a video captioner and caption with it.", "clipcap"};
  app.require_subcommand(1);
  app.footer("Run `clipcap COMMAND --help` for a command's options and an example.");
  app.set_version_flag("--version", "clipcap " CLIPCAP_VERSION);
  tools::Action chosen;
  tools::add_train(app, chosen);
  tools::add_caption(app, chosen);
  tools::add_encode(app, chosen);
  tools::add_features(app, chosen);
  tools::add_convert(app, chosen);
  tools::add_inspect(app, chosen);
  tools::add_cache(app, chosen);
  tools::add_gradcheck(app, chosen);
  tools::add_drawn_clips(app, chosen);
  tools::add_world(app, chosen);
  tools::add_score(app, chosen);
  tools::add_tokenize(app, chosen);
  tools::add_train_tokenizer(app, chosen);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    command->add_flag_callback(
        "-q,--quiet", [] { clipcap::console().set_quiet(true); }, "no progress and no notes on stderr");
  }
  int code = 0;
  try {
    app.parse(reversed_arguments(arguments));
    code = chosen();
  } catch (const CLI::CallForHelp&) {
    tools::print(app.help());
  } catch (const CLI::CallForAllHelp&) {
    tools::print(app.help("", CLI::AppFormatMode::All));
  } catch (const CLI::CallForVersion& version) {
    tools::print(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& error) {
    return failed(2, tools::usage_message(app, error, arguments));
  }
  tools::finish_output();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  clipcap::tools::guard_standard_streams();
  clipcap::watch_signals();
  try {
    return run({argv + 1, argv + std::max(argc, 1)});
  } catch (const clipcap::InputError& error) {
    return failed(2, error.what());
  } catch (const clipcap::Interrupted& interrupted) {
    return failed(128 + interrupted.signal(), interrupted.what());
  } catch (const std::exception& error) {
    return failed(1, error.what());
  }
}
