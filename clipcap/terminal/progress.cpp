#include "clipcap/terminal/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "clipcap/terminal/printable.h"

namespace clipcap {
namespace {

constexpr double kWindow = 30;  // seconds that the rate looks back
constexpr double kBetweenSamples = 0.5;
constexpr double kBetweenBars = 0.1;
constexpr int kWidestBar = 40;
constexpr double kShortest = 0.05;  // seconds that a rate says something of

std::string rate_text(double rate, const std::string& unit) {
  char text[48];
  // Slower than one a second reads better the other way round.
  if (rate >= 1 || rate <= 0) {
    std::snprintf(text, sizeof text, rate >= 100 ? "%.0f " : "%.1f ", rate);
    return text + unit + "/s";
  }
  std::snprintf(text, sizeof text, "%.1f s each", 1 / rate);
  return text;
}

}  // namespace

std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::clamp(seconds, 0.0, 3.6e9) + 0.5);
  char text[48];
  if (whole < 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return text;
}

Progress::Progress(std::string what, int64_t all, ProgressOptions options)
    : what_(printable(what)),
      all_(all),
      options_(std::move(options)),
      console_(options_.console != nullptr ? *options_.console : clipcap::console()),
      start_(console_.now()),
      shown_(console_.bars() ? start_ - kBetweenBars : start_) {
  samples_.push_back({start_, options_.done});
}

Progress::~Progress() {
  if (!ended_) console_.end_bar();
}

double Progress::rate() const {
  const double seconds = console_.now() - samples_.front().time;
  const int64_t done = samples_.back().done - samples_.front().done;
  return seconds > 0 && done > 0 ? static_cast<double>(done) / seconds : 0;
}

std::string Progress::numbers(int64_t done) const {
  std::string text = concat_text(done, " of ", all_);
  const double now = console_.now();
  if (done >= all_) {
    const double seconds = now - start_;
    text += " in " + clock_text(seconds);
    if (seconds >= kShortest && done > options_.done)
      text += ", " + rate_text(static_cast<double>(done - options_.done) / seconds, options_.unit);
    return text;
  }
  const double per_second = rate();
  if (per_second > 0) {
    text += ", " + rate_text(per_second, options_.unit) + ", " +
            clock_text(static_cast<double>(all_ - done) / per_second) + " left";
  }
  return text;
}

std::string Progress::bar(int64_t done, const std::string& note) const {
  std::string text = numbers(done);
  if (!note.empty()) text += "  " + printable(note);
  const int columns = console_.width() - 1;  // the last column would start a new line
  const int room = columns - static_cast<int>(what_.size() + text.size()) - 5;
  std::string line = what_ + "  ";
  if (room >= 8 && all_ > 0) {
    const int cells = std::min(room, kWidestBar);
    const double part = std::clamp(static_cast<double>(done) / static_cast<double>(all_), 0.0, 1.0);
    const int full = static_cast<int>(std::floor(part * cells));
    const std::string filled(static_cast<size_t>(full), '#');
    const std::string rest(static_cast<size_t>(cells - full), '-');
    if (console_.color()) {
      line += "[\x1b[32m" + filled + "\x1b[0m" + rest + "] ";
    } else {
      line += "[" + filled + rest + "] ";
    }
    return line + text;
  }
  line += text;
  return columns > 0 ? line.substr(0, static_cast<size_t>(columns)) : "";
}

void Progress::update(int64_t done, const std::string& note) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ended_) return;
  const double now = console_.now();
  if (now - samples_.back().time >= kBetweenSamples || samples_.size() == 1) {
    samples_.push_back({now, done});
  } else {
    samples_.back().done = done;
  }
  while (samples_.size() > 2 && now - samples_[1].time >= kWindow) samples_.pop_front();
  if (done >= all_) {
    ended_ = true;
    console_.end_bar();
    if (console_.bars() || options_.plain_lines) console_.line(what_ + ": " + numbers(done));
    return;
  }
  if (console_.bars()) {
    if (now - shown_ < kBetweenBars) return;
    console_.bar(bar(done, note));
  } else {
    if (!options_.plain_lines || now - shown_ < options_.line_seconds) return;
    console_.line(what_ + ": " + numbers(done) + (note.empty() ? "" : "  " + note));
  }
  shown_ = now;
}

}  // namespace clipcap
