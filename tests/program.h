// The clipcap program as its users run it: started, signalled, and what it said. It stands beside the test program.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace clipcap::testing {

struct Ran {
  int code = -1;  ///< exit code; 128 + n where signal n ended it
  std::string out, err;
};

struct RunOptions {
  std::filesystem::path folder = ".";         ///< where it runs
  std::vector<std::string> environment = {};  ///< NAME=VALUE on top of the caller's
  std::filesystem::path out_file = {};        ///< stdout goes there (/dev/full) and is not kept
  std::optional<std::string> threads = "1";   ///< OMP_NUM_THREADS; nothing: the program's own choice
};

/// A run of clipcap that goes on beside the test; killed when it goes out of scope.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, const RunOptions& options = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const;
  [[nodiscard]] bool running();
  /// What it has written to stderr until now.
  [[nodiscard]] std::string err_so_far() const;
  /// Waits for its end; after `seconds` it is killed (code 128 + 9).
  Ran wait(double seconds = 120);

 private:
  void reap(bool block);

  std::filesystem::path captured_;
  pid_t pid_ = -1;
  std::optional<int> code_;
};

/// Starts it and waits for its end.
Ran run_program(const std::vector<std::string>& arguments, const RunOptions& options = {});

/// `command` as a shell would split it (words, single quotes), without its first word "clipcap".
[[nodiscard]] std::vector<std::string> split_command(const std::string& command);

/// The last line of `text` that is not empty.
[[nodiscard]] std::string last_line(const std::string& text);

/// True when the regular expression (case aside) matches somewhere in `text`.
[[nodiscard]] bool matches(const std::string& text, const std::string& pattern);

}  // namespace clipcap::testing
