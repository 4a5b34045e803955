#include "clipcap/process/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <thread>

#include "clipcap/terminal/console.h"

namespace clipcap {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<int, 4> kSignals{SIGINT, SIGTERM, SIGHUP, SIGUSR1};
// Signals closer together than this are one request.
constexpr std::chrono::seconds kOneRequest{1};

std::atomic<bool> watching{false};
std::atomic<int> guards{0};
std::atomic<int> noted{0};
std::atomic<int> holds{0};

[[noreturn]] void end_by(int signal) {
  std::signal(signal, SIG_DFL);
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, signal);
  pthread_sigmask(SIG_UNBLOCK, &own, nullptr);
  std::raise(signal);
  ::_exit(128 + signal);
}

void watch(const sigset_t& signals) {
  Clock::time_point first;
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (guards == 0) end_by(signal);
    if (noted == 0) {
      first = Clock::now();
      noted = signal;
    } else if (signal == SIGINT && Clock::now() - first > kOneRequest) {
      end_by(signal);
    }
  }
}

// Whether what is written to stderr is lost. A reader that is slow on a pipe that does not block is no reason.
bool stderr_is_broken() {
  pollfd own{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&own, 1, 0) > 0 && (own.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return true;
  if (std::ferror(stderr) == 0 && !console().lost()) return false;
  const int flags = ::fcntl(STDERR_FILENO, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) == 0) return true;
  std::clearerr(stderr);
  return false;
}

}  // namespace

void watch_signals() {
  if (watching.exchange(true)) return;
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kSignals) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  try {
    std::thread([signals] { watch(signals); }).detach();
  } catch (const std::system_error&) {  // no thread to be had: signals end the program, as without all this
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
}

InterruptGuard::InterruptGuard() : pipe_before_(std::signal(SIGPIPE, SIG_IGN)) {
  watch_signals();
  if (guards++ == 0) noted = 0;
}

InterruptGuard::~InterruptGuard() {
  --guards;
  std::signal(SIGPIPE, pipe_before_);
}

int interrupted_by() {
  if (guards == 0) return 0;
  if (noted == 0 && stderr_is_broken()) {
    int none = 0;
    noted.compare_exchange_strong(none, SIGPIPE);
  }
  return noted;
}

Interrupted::Interrupted(int signal) : Error("interrupted by " + interrupt_name(signal)), signal_(signal) {}

InterruptHold::InterruptHold() { ++holds; }
InterruptHold::~InterruptHold() { --holds; }

void check_interrupted() {
  if (holds > 0) return;
  if (const int signal = interrupted_by(); signal != 0) throw Interrupted(signal);
}

std::string interrupt_name(int signal) {
  switch (signal) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGHUP:
      return "SIGHUP";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGPIPE:
      return "a broken stderr";
    default:
      return concat_text("signal ", signal);
  }
}

}  // namespace clipcap
