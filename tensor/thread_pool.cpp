#include "tensor/thread_pool.h"

#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "tensor/check.h"
#include "tensor/cores.h"
#include "tensor/parallel.h"

#if !CLIPCAP_OWN_THREADS
#include <omp.h>
#endif

namespace clipcap::detail {

int default_thread_count() {
  if (const char* wanted = std::getenv("OMP_NUM_THREADS"); wanted != nullptr) {
    const long threads = std::strtol(wanted, nullptr, 10);
    if (threads >= 1 && threads <= 4096) return static_cast<int>(threads);
  }
  return available_cores();
}

void SpinPolicy::sample(int64_t now, int64_t interruptions) {
  // One interruption is a daemon's moment and costs a moment without spinning. Those that come again soon are
  // company, whose turns may be long: it is remembered longer each time.
  constexpr int64_t kMoment = 10'000'000;
  constexpr int64_t kMostPatience = 160'000'000;
  constexpr int64_t kAgain = 250'000'000;
  const int64_t fresh = seen_ < 0 ? 0 : interruptions - seen_;
  seen_ = interruptions;
  if (fresh <= 0) return;
  const bool again = patience_ > 0 && now - interrupted_ < kAgain;
  patience_ = again ? std::min(2 * patience_, kMostPatience) : kMoment;
  interrupted_ = now;
  spin_from_ = now + patience_;
}

#if CLIPCAP_OWN_THREADS

namespace {

using Futex = std::atomic<uint32_t>;
static_assert(sizeof(Futex) == sizeof(uint32_t) && Futex::is_always_lock_free);

constexpr int64_t kLongestSpin = 20'000'000;  // nanoseconds: longer than a serial stretch of a step
constexpr int64_t kBetweenSamples = 1'000'000;
constexpr int kPausesBetweenLooks = 64;

void futex_wait(Futex& word, uint32_t value) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake(Futex& word, int threads) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

SpinPolicy::Mode mode_of_environment() {
  const char* wanted = std::getenv("OMP_WAIT_POLICY");
  const std::string_view text = wanted != nullptr ? wanted : "";
  if (text == "passive" || text == "PASSIVE") return SpinPolicy::Mode::never;
  if (text == "active" || text == "ACTIVE") return SpinPolicy::Mode::always;
  return SpinPolicy::Mode::adaptive;
}

// The process's policy, fed with what the kernel counts, at most once a millisecond.
class Company {
 public:
  bool may_spin(int64_t now) {
    if (policy_.mode() == SpinPolicy::Mode::adaptive && now >= next_.load(std::memory_order_relaxed)) {
      const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
      if (lock.owns_lock()) {
        rusage usage{};
        if (getrusage(RUSAGE_SELF, &usage) == 0) policy_.sample(now, usage.ru_nivcsw);
        may_ = policy_.may_spin(now);
        next_ = now + kBetweenSamples;
      }
    }
    return may_.load(std::memory_order_relaxed);
  }

 private:
  std::mutex mutex_;
  SpinPolicy policy_{mode_of_environment()};
  std::atomic<bool> may_{policy_.mode() != SpinPolicy::Mode::never};
  std::atomic<int64_t> next_{0};
};

struct Region {
  RegionBody body = nullptr;
  void* context = nullptr;
  int team = 1;
};

class ThreadPool {
 public:
  void run(int team, void* context, RegionBody body);
  void barrier(int team);

 private:
  struct alignas(64) Worker {
    Futex ticket{0};  // raised when there is work
    std::atomic<bool> asleep{false};
  };
  void work(Worker& self, int index);
  void start_workers(int count);
  template <class Ready>
  bool spin(Ready ready);

  std::mutex one_region_;
  std::deque<Worker> workers_;  // of indices 1, 2, …; never removed, so that addresses stay
  Region region_;
  alignas(64) Futex remaining_{0};  // workers that have not ended their part
  std::atomic<bool> caller_asleep_{false};
  alignas(64) Futex arrived_{0};  // at the barrier
  alignas(64) Futex barriers_{0};
  std::atomic<uint32_t> asleep_at_barrier_{0};
  std::atomic<bool> crowded_{false};  // more threads than cores: spinning never helps
  int cores_ = available_cores();
  Company company_;
};

thread_local int own_index = 0;
thread_local int own_team = 1;
thread_local bool inside = false;

// Never destroyed: its threads outlive main.
ThreadPool& pool() {
  static auto* process = new ThreadPool;
  return *process;
}

template <class Ready>
bool ThreadPool::spin(Ready ready) {
  if (ready()) return true;
  if (crowded_.load(std::memory_order_relaxed)) return false;
  const int64_t begin = nanoseconds();
  for (int64_t now = begin; now - begin < kLongestSpin && company_.may_spin(now); now = nanoseconds()) {
    for (int i = 0; i < kPausesBetweenLooks; ++i) {
      if (ready()) return true;
      pause();
    }
  }
  return ready();
}

void ThreadPool::work(Worker& self, int index) {
  uint32_t done = 0;
  for (;;) {
    while (!spin([&] { return self.ticket.load(std::memory_order_acquire) != done; })) {
      self.asleep = true;
      if (self.ticket == done) futex_wait(self.ticket, done);
      self.asleep = false;
    }
    ++done;
    own_index = index;
    own_team = region_.team;
    inside = true;
    region_.body(region_.context, index, region_.team);
    inside = false;
    if (remaining_.fetch_sub(1) == 1 && caller_asleep_) futex_wake(remaining_, 1);
  }
}

void ThreadPool::start_workers(int count) {
  while (static_cast<int>(workers_.size()) < count) {
    const int index = static_cast<int>(workers_.size()) + 1;
    Worker& worker = workers_.emplace_back();
    try {
      std::thread([this, &worker, index] { work(worker, index); }).detach();
    } catch (const std::system_error& error) {
      workers_.pop_back();
      fail("cannot start thread ", index + 1, " of ", count + 1, ": ", error.what(),
           " (--threads takes fewer)");
    }
  }
}

void ThreadPool::run(int team, void* context, RegionBody body) {
  const std::lock_guard<std::mutex> lock(one_region_);
  start_workers(team - 1);
  crowded_.store(team > cores_, std::memory_order_relaxed);
  region_ = {body, context, team};
  remaining_ = static_cast<uint32_t>(team - 1);
  for (int i = 0; i < team - 1; ++i) {
    Worker& worker = workers_[static_cast<size_t>(i)];
    ++worker.ticket;
    if (worker.asleep) futex_wake(worker.ticket, 1);
  }
  own_index = 0;
  own_team = team;
  inside = true;
  body(context, 0, team);
  inside = false;
  own_team = 1;
  while (!spin([&] { return remaining_.load(std::memory_order_acquire) == 0; })) {
    caller_asleep_ = true;
    if (const uint32_t left = remaining_; left != 0) futex_wait(remaining_, left);
    caller_asleep_ = false;
  }
}

void ThreadPool::barrier(int team) {
  const uint32_t generation = barriers_;
  if (arrived_.fetch_add(1) + 1 == static_cast<uint32_t>(team)) {
    arrived_ = 0;
    ++barriers_;
    if (asleep_at_barrier_ != 0) futex_wake(barriers_, INT_MAX);
    return;
  }
  while (!spin([&] { return barriers_.load(std::memory_order_acquire) != generation; })) {
    ++asleep_at_barrier_;
    if (barriers_ == generation) futex_wait(barriers_, generation);
    --asleep_at_barrier_;
  }
}

}  // namespace

bool in_region() { return inside; }

void region_barrier() {
  if (own_team > 1) pool().barrier(own_team);
}

void run_region(int team, void* context, RegionBody body) {
  if (team > 1 && !inside) return pool().run(team, context, body);
  // A team of one, which may stand inside a larger one.
  const int index = std::exchange(own_index, 0);
  const int outer = std::exchange(own_team, 1);
  body(context, 0, 1);
  own_index = index;
  own_team = outer;
}

#else

bool in_region() { return omp_in_parallel() != 0; }

void region_barrier() {
#pragma omp barrier
}

void run_region(int team, void* context, RegionBody body) {
#pragma omp parallel num_threads(team)
  body(context, omp_get_thread_num(), omp_get_num_threads());
}

#endif

}  // namespace clipcap::detail

#if CLIPCAP_OWN_THREADS

// What oneDNN calls of GNU's OpenMP (libgomp's ABI).
extern "C" {

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned /*flags*/) {
  struct Call {
    void (*body)(void*);
    void* data;
  } call{body, data};
  const int team = threads == 0 ? clipcap::thread_count() : static_cast<int>(std::min(threads, 4096U));
  clipcap::detail::run_region(team, &call, [](void* context, int, int) {
    const auto* wanted = static_cast<const Call*>(context);
    wanted->body(wanted->data);
  });
}

void GOMP_barrier() { clipcap::detail::region_barrier(); }

int omp_get_max_threads() { return clipcap::thread_count(); }
int omp_get_num_threads() { return clipcap::detail::own_team; }
int omp_get_thread_num() { return clipcap::detail::own_index; }
int omp_in_parallel() { return clipcap::detail::inside ? 1 : 0; }

}  // extern "C"

#endif
