// The threads behind parallel_for, and behind oneDNN, which calls OpenMP: one team for both, so that threads of
// one never wait in the other's way.
//
// A thread that waits has two bad choices. Asleep, it takes tens of microseconds to wake, and regions of a small
// model are shorter than that: a third of the speed. Spinning, it keeps a core from whoever could use it: two
// processes on the same cores then hardly move, which is what GNU's OpenMP does (17 times as long as one). This
// team spins while the cores are its own and sleeps while they are shared; which of the two it is, the kernel
// counts: a thread that spins or computes alone is not interrupted, one in company is, some hundred times a
// second.
//
// GNU's OpenMP is left out by defining its entry points that oneDNN calls (thread_pool.cpp); the dynamic linker
// prefers the program's. CMakeLists.txt looks whether the library calls others; if so, CLIPCAP_OWN_THREADS is off
// and the regions are OpenMP's.
#pragma once

#include <cstdint>

namespace clipcap::detail {

/// Runs body(context, index, team) for index = 0 .. team-1, each on a thread of its own, index 0 on the caller's;
/// returns when all have ended. Regions of several callers run one after the other. Inside a region, the team
/// is 1.
using RegionBody = void (*)(void* context, int index, int team);
void run_region(int team, void* context, RegionBody body);

/// Whether the caller is inside a region.
[[nodiscard]] bool in_region();

/// Waits until the whole team of the region has come here.
void region_barrier();

/// OMP_NUM_THREADS, or the cores that are available.
[[nodiscard]] int default_thread_count();

/// Decides whether waiting threads may spin. One object a process; tests make their own.
class SpinPolicy {
 public:
  enum class Mode { adaptive, never, always };
  explicit SpinPolicy(Mode mode) : mode_(mode) {}
  /// Tells how often the process's threads have been interrupted until `now` (nanoseconds): ru_nivcsw.
  void sample(int64_t now, int64_t interruptions);
  [[nodiscard]] bool may_spin(int64_t now) const {
    return mode_ == Mode::always || (mode_ == Mode::adaptive && now >= spin_from_);
  }
  [[nodiscard]] Mode mode() const { return mode_; }

 private:
  Mode mode_;
  int64_t seen_ = -1;        // interruptions at the last sample; -1: none yet
  int64_t interrupted_ = 0;  // when one was last seen
  int64_t patience_ = 0;     // how long it kept from spinning
  int64_t spin_from_ = 0;
};

}  // namespace clipcap::detail
