// Ctrl-C while training: asks the loop to save and end.
#pragma once

namespace clipcap {

/// While alive, the first SIGINT only sets a flag; a second one ends the program at once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  [[nodiscard]] bool interrupted() const;

 private:
  void (*before_)(int);
};

}  // namespace clipcap
