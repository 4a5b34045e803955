// How far a long piece of work is: a bar with rate and time left on a terminal, a plain line now and then
// elsewhere, and one line at its end.
//
//   Progress progress("encoding clips", clips.size());
//   for (...) { ...; progress.update(++done); }
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "clipcap/terminal/console.h"

namespace clipcap {

struct ProgressOptions {
  std::string unit = "clips";
  int64_t done = 0;            // done before this run began; not counted in the rate
  bool plain_lines = true;     // off where other lines tell how far it is
  double line_seconds = 10;    // between plain lines
  Console* console = nullptr;  // nullptr: stderr's
};

class Progress {
 public:
  /// `all` units of work. Nothing is shown before the first update.
  Progress(std::string what, int64_t all, ProgressOptions options = {});
  /// Wipes the bar. Work that ended early has no last line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` units are done, those before this run included; `note` stands behind the numbers, such as a loss.
  /// The last unit ends the bar and writes "what: 50 of 50 in 0:16, 3.1 clips/s". Callable from any thread.
  void update(int64_t done, const std::string& note = "");

  /// Units a second over the last half minute; 0 while unknown.
  [[nodiscard]] double rate() const;

 private:
  struct Sample {
    double time;
    int64_t done;
  };
  [[nodiscard]] std::string numbers(int64_t done) const;
  [[nodiscard]] std::string bar(int64_t done, const std::string& note) const;

  std::string what_;
  int64_t all_;
  ProgressOptions options_;
  Console& console_;
  std::mutex mutex_;
  std::deque<Sample> samples_;  // at least half a second apart, over the last half minute
  double start_;
  double shown_;  // when something was last shown
  bool ended_ = false;
};

/// "0:09", "12:34", "1:02:03".
[[nodiscard]] std::string clock_text(double seconds);

}  // namespace clipcap
