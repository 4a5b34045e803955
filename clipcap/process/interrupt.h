// What asks a program to end before its work is done: SIGINT, SIGTERM, SIGHUP and SIGUSR1 (which batch systems
// send before they kill), and a stderr that nobody reads any more.
//
// No signal handler ever runs. A thread of its own waits for the signals, which are blocked in every other:
// oneDNN's x86 matrix product (up to 3.11; uxlfoundation/oneDNN issue 4845) points its stack pointer into a
// heap buffer while it works, so that the frame of a handler would be written over the heap.
//
//   int main() { watch_signals(); ... }        before any other thread is there
//   InterruptGuard guard;                      from here on signals are noted instead of ending the program
//   for (clip : clips) { check_interrupted(); ... }
//   catch (const Interrupted& e)               save, say so in one line, return 128 + e.signal()
#pragma once

#include <string>

#include "tensor/check.h"

namespace clipcap {

/// Called first in main: threads that were started before would still be ended by the signals. A signal that
/// is ignored now (nohup; a shell's background job) stays ignored. Without a guard, signals end the program
/// as they always do.
void watch_signals();

/// While one is alive, a signal only sets what interrupted_by() returns. A second SIGINT ends the program at
/// once, if it comes more than a second later: `timeout` and some shells send each signal twice. SIGPIPE is
/// ignored meanwhile, so that writing to a pipe without a reader fails instead of ending the program.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  void (*pipe_before_)(int);
};

/// The signal that came since the outermost guard was made; SIGPIPE when stderr is broken; 0: go on, or no
/// guard. From any thread; costs a system call, so once a frame or a step, not once a number.
[[nodiscard]] int interrupted_by();

/// What check_interrupted throws. The program's exit code is 128 + signal().
class Interrupted : public Error {
 public:
  explicit Interrupted(int signal);
  [[nodiscard]] int signal() const { return signal_; }

 private:
  int signal_;
};

/// Throws Interrupted when interrupted_by() says so. Belongs into every loop over clips, frames or batches
/// that may take more than a second.
void check_interrupted();

/// While one is alive, check_interrupted throws nothing: for what has to be finished, such as a checkpoint.
class InterruptHold {
 public:
  InterruptHold();
  ~InterruptHold();
  InterruptHold(const InterruptHold&) = delete;
  InterruptHold& operator=(const InterruptHold&) = delete;
};

/// "SIGINT"; "a broken stderr" for SIGPIPE.
[[nodiscard]] std::string interrupt_name(int signal);

}  // namespace clipcap
