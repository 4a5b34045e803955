#include "clipcap/training/interrupt.h"

#include <csignal>

namespace clipcap {
namespace {

volatile std::sig_atomic_t signalled = 0;

}  // namespace

InterruptGuard::InterruptGuard() {
  signalled = 0;
  before_ = std::signal(SIGINT, [](int) {
    signalled = 1;
    std::signal(SIGINT, SIG_DFL);
  });
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, before_); }

bool InterruptGuard::interrupted() const { return signalled != 0; }

}  // namespace clipcap
