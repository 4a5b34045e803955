// The clipcap program: parses the subcommand, runs it, turns exceptions into exit codes.
//   0 done;  1 anything that is not the user's fault;  2 wrong input, one line on stderr;  128+n signal n.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "clipcap/process/interrupt.h"
#include "tensor/check.h"
#include "tools/command.h"

namespace {

// One line whatever the message holds: file names may contain line breaks.
void print_error(const char* text) {
  std::string line = text;
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 32) c = ' ';
  }
  std::fprintf(stderr, "clipcap: %s\n", line.c_str());
}

// The arguments as CLI11 wants them, the last one first. It reads an argument "[a, b]" as the list of a and
// b; where arguments are texts, a space behind the bracket keeps it one text, which means the same to them.
std::vector<std::string> reversed_arguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool texts = !arguments.empty() && (arguments[0] == "tokenize" || arguments[0] == "encode");
  for (std::string& argument : arguments) {
    if (texts && argument.starts_with('[') && argument.ends_with(']')) argument += ' ';
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);
  clipcap::watch_signals();
  CLI::App app{"CLIP4VideoCap: train a video captioner and caption with it.", "clipcap"};
  app.require_subcommand(1);
  app.footer("Run `clipcap COMMAND --help` for a command's options and an example.");
  clipcap::tools::Action chosen;
  clipcap::tools::add_train(app, chosen);
  clipcap::tools::add_caption(app, chosen);
  clipcap::tools::add_encode(app, chosen);
  clipcap::tools::add_features(app, chosen);
  clipcap::tools::add_convert(app, chosen);
  clipcap::tools::add_inspect(app, chosen);
  clipcap::tools::add_gradcheck(app, chosen);
  clipcap::tools::add_drawn_clips(app, chosen);
  clipcap::tools::add_world(app, chosen);
  clipcap::tools::add_tokenize(app, chosen);
  clipcap::tools::add_train_tokenizer(app, chosen);
  try {
    app.parse(reversed_arguments(argc, argv));
    return chosen();
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    print_error(error.what());
    return 2;
  } catch (const clipcap::InputError& error) {
    print_error(error.what());
    return 2;
  } catch (const clipcap::Interrupted& interrupted) {
    print_error(interrupted.what());
    return 128 + interrupted.signal();
  } catch (const std::exception& error) {
    print_error(error.what());
    return 1;
  }
}
