// The console on a screen made of a string, with a clock that the test moves.
#include "clipcap/terminal/console.h"

#include "clipcap/terminal/printable.h"
#include "clipcap/terminal/progress.h"
#include "tests/catch.h"

using namespace clipcap;

namespace {

struct FakeScreen {
  std::string text;
  double time = 0;
  int columns = 80;
  bool broken = false;
  Console console;
  explicit FakeScreen(bool bars, bool color = false)
      : console({.write =
                     [this](std::string_view part) {
                       if (!broken) text += part;
                       return !broken;
                     },
                 .width = [this] { return columns; },
                 .now = [this] { return time; },
                 .bars = bars,
                 .color = color}) {}
  std::string taken() { return std::exchange(text, ""); }
};

}  // namespace

TEST_CASE("printable: controls, direction marks and bytes that are no text are escaped", "[console]") {
  CHECK(printable("a man, ein Käse, 映画 🎬, C:\\x") == "a man, ein Käse, 映画 🎬, C:\\x");
  CHECK(printable("a\nb\rc\td") == "a\\nb\\rc\\td");
  CHECK(printable(std::string_view("\0\x1b[31m\x7f", 7)) == "\\x00\\x1b[31m\\x7f");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\x9b31m");                             // CSI in one character
  CHECK(printable("gpj.\xe2\x80\xae") == "gpj.\\u202e");             // right-to-left override
  CHECK(printable("\xe2\x80\xa8\xe2\x81\xa6") == "\\u2028\\u2066");  // line separator, isolate
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable("\xc0\x8a") == "\\xc0\\x8a");           // an overlong line feed
  CHECK(printable("\xe0\x80\x8a") == "\\xe0\\x80\\x8a");  // another
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
  CHECK(printable("\xf0\x9f\x8e") == "\\xf0\\x9f\\x8e");  // cut short
  CHECK(printable("").empty());
}

TEST_CASE("console: lines and warnings; quiet keeps the warnings", "[console]") {
  FakeScreen screen(false);
  screen.console.line("read a\nb.mp4");
  CHECK(screen.taken() == "read a\\nb.mp4\n");
  screen.console.warning("a \x1b[2J");
  CHECK(screen.taken() == "warning: a \\x1b[2J\n");
  screen.console.set_quiet(true);
  screen.console.line("chatter");
  CHECK(screen.taken().empty());
  screen.console.warning("told");
  CHECK(screen.taken() == "warning: told\n");
}

TEST_CASE("console: colour only where it is wanted", "[console]") {
  FakeScreen screen(true, true);
  screen.console.warning("w");
  CHECK(screen.taken() == "\x1b[33mwarning: w\x1b[0m\n");
  FakeScreen plain(true, false);
  plain.console.warning("w");
  CHECK(plain.taken() == "warning: w\n");
}

TEST_CASE("console: a reader that is gone is noticed", "[console]") {
  FakeScreen screen(false);
  screen.console.line("heard");
  CHECK_FALSE(screen.console.lost());
  screen.broken = true;
  screen.console.line("unheard");
  CHECK(screen.console.lost());
}

TEST_CASE("console: a line goes above the bar", "[console]") {
  FakeScreen screen(true);
  screen.console.bar("BAR");
  CHECK(screen.taken() == "\r\x1b[KBAR");
  screen.console.line("line");
  CHECK(screen.taken() == "\r\x1b[Kline\nBAR");
  screen.console.around_bar([&] { screen.text += "result\n"; });
  CHECK(screen.taken() == "\r\x1b[Kresult\nBAR");
  screen.console.end_bar();
  CHECK(screen.taken() == "\r\x1b[K");
  screen.console.line("after");
  CHECK(screen.taken() == "after\n");
}

TEST_CASE("progress: a bar with rate and time left on a terminal", "[console]") {
  FakeScreen screen(true);
  {
    Progress progress("encoding clips", 50, {.console = &screen.console});
    CHECK(screen.text.empty());
    screen.time = 5;
    progress.update(10);
    CHECK(screen.taken() ==
          "\r\x1b[Kencoding clips  [#####-----------------------] 10 of 50, 2.0 clips/s, 0:20 left");
    screen.time = 5.05;
    progress.update(11);
    CHECK(screen.taken().empty());  // too soon to be seen
    screen.time = 20;
    progress.update(50);
    CHECK(screen.taken() == "\r\x1b[Kencoding clips: 50 of 50 in 0:20, 2.5 clips/s\n");
    progress.update(50);
    CHECK(screen.taken().empty());
  }
  CHECK(screen.taken().empty());
  {
    Progress progress("training", 1000, {.unit = "steps", .console = &screen.console});
    screen.time += 10;
    progress.update(1, "loss 2.5\n");
    CHECK(screen.taken().ends_with("1 of 1000, 10.0 s each, 2:46:30 left  loss 2.5\\n"));
  }
  CHECK(screen.taken() == "\r\x1b[K");  // ended early: wiped
}

TEST_CASE("progress: the bar fits the terminal, never its last column", "[console]") {
  for (const int columns : {0, 1, 10, 30, 60, 79, 80, 200}) {
    FakeScreen screen(true);
    screen.columns = columns;
    Progress progress("encoding clips", 50, {.console = &screen.console});
    screen.time = 5;
    progress.update(10);
    INFO(screen.text);
    CHECK(screen.text.size() <= 4 + static_cast<size_t>(std::max(0, columns - 1)));
    CHECK((screen.text.find('#') != std::string::npos) == (columns >= 60));
  }
}

TEST_CASE("progress: the rate forgets what is long past and does not count what was done before",
          "[console]") {
  FakeScreen screen(true);
  Progress progress("encoding clips", 10000, {.done = 5000, .console = &screen.console});
  screen.time = 1;
  progress.update(6000);  // a thousand at once, from a cache
  CHECK(progress.rate() == 1000);
  for (int second = 2; second <= 60; ++second) {
    screen.time = second;
    progress.update(6000 + 2 * (second - 1));
  }
  CHECK(progress.rate() == 2);
}

TEST_CASE("progress: plain lines elsewhere, one in ten seconds and one at the end", "[console]") {
  FakeScreen screen(false);
  Progress progress("encoding clips", 100, {.console = &screen.console});
  for (int second = 1; second <= 25; ++second) {
    screen.time = second;
    progress.update(2 * second);
  }
  CHECK(screen.taken() ==
        "encoding clips: 20 of 100, 2.0 clips/s, 0:40 left\n"
        "encoding clips: 40 of 100, 2.0 clips/s, 0:30 left\n");
  progress.update(100);
  CHECK(screen.taken() == "encoding clips: 100 of 100 in 0:25, 4.0 clips/s\n");
  Progress silent("training", 10, {.plain_lines = false, .console = &screen.console});
  screen.time += 100;
  silent.update(5);
  silent.update(10);
  CHECK(screen.taken().empty());
  screen.console.set_quiet(true);
  Progress quiet("encoding clips", 10, {.console = &screen.console});
  screen.time += 100;
  quiet.update(5);
  quiet.update(10);
  CHECK(screen.taken().empty());
}

TEST_CASE("progress: times as clocks show them", "[console]") {
  CHECK(clock_text(0) == "0:00");
  CHECK(clock_text(59.6) == "1:00");
  CHECK(clock_text(3599.4) == "59:59");
  CHECK(clock_text(3599.6) == "1:00:00");
  CHECK(clock_text(36061) == "10:01:01");
}
