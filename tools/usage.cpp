// Typing mistakes on the command line, and what was probably meant.
#include <algorithm>
#include <array>

#include "clipcap/terminal/nearest.h"
#include "tensor/check.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

// How whisper.cpp, which many have used on the same files, calls what `caption` has too.
constexpr std::array<std::array<const char*, 2>, 16> kWhisperNames{{
    {"-osrt", "--format srt"},
    {"--output-srt", "--format srt"},
    {"-ovtt", "--format vtt"},
    {"--output-vtt", "--format vtt"},
    {"-oj", "--format json"},
    {"--output-json", "--format json"},
    {"-otxt", "--format text"},
    {"--output-txt", "--format text"},
    {"-of", "--out"},
    {"--output-file", "--out"},
    {"-bs", "--beam"},
    {"--beam-size", "--beam"},
    {"-np", "--quiet"},
    {"--no-prints", "--quiet"},
    {"-f", "the file's name alone"},
    {"-l", "no language: captions are in the one that the model learnt"},
}};

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::string unknown_flag(const CLI::App& command, const std::string& argument) {
  const std::string flag = argument.substr(0, argument.find('='));
  std::string meant;
  if (command.get_name() == "caption") {
    for (const auto& [name, ours] : kWhisperNames) {
      if (flag == name) meant = ours;
    }
  }
  if (meant.empty()) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back(name);
    }
    const size_t dashes = std::min(flag.find_first_not_of('-'), flag.size());
    const std::string nearest = nearest_name(flag.substr(dashes), names);
    if (!nearest.empty()) meant = "--" + nearest;
  }
  const bool whole_program = command.get_parent() == nullptr;
  const std::string where = whole_program ? "" : command.get_name() + ": ";
  if (!meant.empty()) return concat_text(where, "no option ", flag, "; did you mean ", meant, "?");
  return concat_text(where, "no option ", flag, "; `clipcap ", whole_program ? "" : command.get_name() + " ",
                     "--help` lists those there are");
}

}  // namespace

std::string usage_message(const CLI::App& app, const CLI::ParseError& error,
                          const std::vector<std::string>& arguments) {
  const std::vector<std::string> commands = commands_of(app);
  if (arguments.empty()) return "a command is missing: " + list(commands);
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (chosen.empty()) {
    const std::string& word = arguments.front();
    if (word.starts_with('-')) return unknown_flag(app, word);
    const std::string nearest = nearest_name(word, commands);
    if (nearest.empty()) return concat_text("no command \"", word, "\"; there are ", list(commands));
    return concat_text("no command \"", word, "\"; did you mean \"", nearest, "\"?");
  }
  const CLI::App& command = *chosen.front();
  // A mistyped flag is what is wrong, whatever else is missing because of it.
  const std::vector<std::string> left = command.remaining();
  for (const std::string& argument : left) {
    if (argument.size() > 1 && argument.starts_with('-')) return unknown_flag(command, argument);
  }
  if (!left.empty())
    return concat_text(command.get_name(), ": what is \"", left.front(),
                       "\" for? It is one argument too many");
  return command.get_name() + ": " + error.what();
}

}  // namespace clipcap::tools
