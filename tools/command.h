// What every subcommand shares: its options, and how it reports. One file a subcommand;
// clipcap.cpp lists them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace clipcap::tools {

/// Runs the chosen subcommand; returns the exit code.
using Action = std::function<int()>;

/// Each registers its subcommand on `app`; when it is chosen, `chosen` becomes what to run after parsing.
void add_train(CLI::App& app, Action& chosen);
void add_caption(CLI::App& app, Action& chosen);
void add_encode(CLI::App& app, Action& chosen);
void add_features(CLI::App& app, Action& chosen);
void add_convert(CLI::App& app, Action& chosen);
void add_cache(CLI::App& app, Action& chosen);
void add_inspect(CLI::App& app, Action& chosen);
void add_gradcheck(CLI::App& app, Action& chosen);
void add_drawn_clips(CLI::App& app, Action& chosen);
void add_world(CLI::App& app, Action& chosen);
void add_score(CLI::App& app, Action& chosen);
void add_tokenize(CLI::App& app, Action& chosen);
void add_train_tokenizer(CLI::App& app, Action& chosen);

/// Options that most subcommands take.
struct CommonOptions {
  std::string device = "auto";
  std::string dtype = "f32";
  int threads = 0;  // 0: all
  void add_to(CLI::App& command);
  /// Applies the thread count and checks the device. The model's whole op set runs on the CPU; --device cuda
  /// says so.
  void apply() const;
};

/// A number from `least` to `most`. CLI::Range lets NaN pass.
[[nodiscard]] CLI::Validator number_between(double least, double most);
/// A whole number from 0 to `most`; what follows a sign is not one.
[[nodiscard]] CLI::Validator whole_number_to(uint64_t most);

/// What is wrong with a command line that CLI11 refused, in one line: `error`'s own words, or the name that
/// was probably meant instead of the first one that is not known.
[[nodiscard]] std::string usage_message(const CLI::App& app, const CLI::ParseError& error,
                                        const std::vector<std::string>& arguments);

}  // namespace clipcap::tools
