#include "clipcap/terminal/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "clipcap/terminal/printable.h"

namespace clipcap {
namespace {

constexpr const char* kWipe = "\r\x1b[K";

bool write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

int stderr_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Console::Screen stderr_screen() {
  const std::string term = environment("TERM");
  const bool bars = isatty(STDERR_FILENO) != 0 && !term.empty() && term != "dumb";
  return {.write = write_stderr,
          .width = stderr_width,
          .now = seconds,
          .bars = bars,
          .color = bars && environment("NO_COLOR").empty()};
}

}  // namespace

void Console::put(std::string_view text) {
  if (!screen_.write(text)) lost_ = true;
}

// In one write each, so that lines of several processes do not mix.
void Console::write(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  put(bar_.empty() ? text : kWipe + text + bar_);
}

void Console::line(std::string_view text) {
  if (!quiet_) write(printable(text) + "\n");
}

void Console::warning(std::string_view text) {
  const std::string line = "warning: " + printable(text);
  write((screen_.color ? "\x1b[33m" + line + "\x1b[0m" : line) + "\n");
}

void Console::bar(const std::string& text) {
  if (!bars()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  put(kWipe + text);
  bar_ = text;
}

void Console::end_bar() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!bar_.empty()) put(kWipe);
  bar_.clear();
}

void Console::around_bar(const std::function<void()>& print) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!bar_.empty()) put(kWipe);
  print();
  if (!bar_.empty()) put(bar_);
}

Console& console() {
  static Console process(stderr_screen());
  return process;
}

}  // namespace clipcap
