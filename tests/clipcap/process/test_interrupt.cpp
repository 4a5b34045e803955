// Signals and a broken stderr: noted while a guard is alive, once however often they come, never handled on
// another thread's stack.
#include "clipcap/process/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "tests/catch.h"

namespace clipcap {
namespace {

bool wait_until_interrupted() {
  for (int i = 0; i < 1000 && interrupted_by() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return interrupted_by() != 0;
}

// Whether a signal is blocked on this thread, for the watching one to take.
bool watched(int signal) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

// stderr, elsewhere for a while.
class StderrTo {
 public:
  explicit StderrTo(int fd) : before_(::dup(STDERR_FILENO)) { ::dup2(fd, STDERR_FILENO); }
  ~StderrTo() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    std::clearerr(stderr);
  }
  StderrTo(const StderrTo&) = delete;
  StderrTo& operator=(const StderrTo&) = delete;

 private:
  int before_;
};

}  // namespace

TEST_CASE("each of the four signals is noted, and a new guard begins anew", "[interrupt]") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    INFO(interrupt_name(signal));
    if (!watched(signal)) continue;  // this process was started so that it is ignored
    {
      const InterruptGuard guard;
      CHECK(interrupted_by() == 0);
      CHECK_NOTHROW(check_interrupted());
      ::kill(::getpid(), signal);
      REQUIRE(wait_until_interrupted());
      CHECK(interrupted_by() == signal);
      {
        const InterruptGuard inner;  // an inner guard forgets nothing
        CHECK(interrupted_by() == signal);
      }
      // `timeout` sends its signal twice.
      ::kill(::getpid(), signal);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      try {
        check_interrupted();
        FAIL("check_interrupted did not throw");
      } catch (const Interrupted& interrupted) {
        CHECK(interrupted.signal() == signal);
        CHECK(std::string(interrupted.what()).find(interrupt_name(signal)) != std::string::npos);
      }
    }
    CHECK(interrupted_by() == 0);
    const InterruptGuard next;
    CHECK(interrupted_by() == 0);
  }
}

TEST_CASE("a stderr without a reader interrupts, before and after something is written to it",
          "[interrupt]") {
  for (const bool write : {false, true}) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    int found = -1;
    int before = -1;
    {
      const StderrTo pipe(ends[1]);
      const InterruptGuard guard;
      before = interrupted_by();
      ::close(ends[0]);
      if (write) std::fputs("lost\n", stderr);
      found = interrupted_by();
    }
    ::close(ends[1]);
    CHECK(before == 0);
    CHECK(found == SIGPIPE);
    CHECK(interrupted_by() == 0);
  }
  // Nor does what is written to a full disk come back.
  const int full = ::open("/dev/full", O_WRONLY);
  if (full < 0) return;
  int found = -1;
  {
    const StderrTo disk(full);
    const InterruptGuard guard;
    std::fputs("lost\n", stderr);
    found = interrupted_by();
  }
  ::close(full);
  CHECK(found == SIGPIPE);
}

TEST_CASE("a slow reader of a pipe that does not block is waited for", "[interrupt]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  const std::string much(4096, '.');
  while (::write(ends[1], much.data(), much.size()) > 0) continue;  // full
  int found = -1;
  {
    const StderrTo pipe(ends[1]);
    const InterruptGuard guard;
    std::fputs("lost\n", stderr);
    found = interrupted_by();
  }
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(found == 0);
}

TEST_CASE("signals are blocked outside the watching thread", "[interrupt]") {
  CHECK(watched(SIGTERM));
  CHECK(watched(SIGUSR1));
  bool inherited = false;
  std::thread([&] { inherited = watched(SIGTERM); }).join();
  CHECK(inherited);
}

}  // namespace clipcap
