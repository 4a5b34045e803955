// What the program says while it works: lines and progress bars on stderr, through one place, so that a bar
// and a line never stand in each other's way, --quiet holds everywhere, and a reader that is gone is noticed.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "tensor/check.h"

namespace clipcap {

class Console {
 public:
  /// Where the text goes. Tests give their own.
  struct Screen {
    std::function<bool(std::string_view)> write;  // false: nobody reads any more
    std::function<int()> width;                   // columns
    std::function<double()> now;                  // seconds, from any start
    bool bars = false;                            // a terminal that can write over its last line
    bool color = false;
  };
  explicit Console(Screen screen) : screen_(std::move(screen)) {}

  /// Only warnings from here on.
  void set_quiet(bool quiet) { quiet_ = quiet; }
  [[nodiscard]] bool quiet() const { return quiet_; }
  [[nodiscard]] bool bars() const { return screen_.bars && !quiet_; }
  [[nodiscard]] bool color() const { return screen_.color; }
  [[nodiscard]] int width() const { return screen_.width(); }
  [[nodiscard]] double now() const { return screen_.now(); }
  /// Whether something could not be written: stderr is closed, full, or its reader has ended.
  [[nodiscard]] bool lost() const { return lost_; }

  /// One line of log, its control characters escaped. Nothing with --quiet.
  void line(std::string_view text);
  /// "warning: text", with --quiet too.
  void warning(std::string_view text);

  /// The bar at the foot of the terminal, and its end (text left out: the bar is wiped). For Progress.
  void bar(const std::string& text);
  void end_bar();
  /// Wipes the bar, lets `print` write to the terminal, draws the bar again: for results on stdout.
  void around_bar(const std::function<void()>& print);

 private:
  void put(std::string_view text);
  void write(const std::string& text);
  Screen screen_;
  std::mutex mutex_;
  std::string bar_;  // as drawn
  bool quiet_ = false;
  std::atomic<bool> lost_{false};
};

/// The console of this process: stderr. Bars where it is a terminal and TERM is not "dumb"; colour where
/// NO_COLOR is not set either.
[[nodiscard]] Console& console();

/// console().line of all parts together.
template <class... Parts>
void log_line(const Parts&... parts) {
  if (!console().quiet()) console().line(concat_text(parts...));
}
template <class... Parts>
void log_warning(const Parts&... parts) {
  console().warning(concat_text(parts...));
}

}  // namespace clipcap
