// The team of threads: every index once, barriers, callers beside each other, and when waiting threads may spin.
#include "tensor/thread_pool.h"

#include <omp.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tensor/parallel.h"
#include "tests/catch.h"

using namespace clipcap;
using detail::SpinPolicy;

namespace {

struct Seen {
  std::vector<std::atomic<int>> times;
  std::atomic<int> wrong{0};
  explicit Seen(size_t team) : times(team) {}
};

void note(void* context, int index, int team) {
  auto& seen = *static_cast<Seen*>(context);
  if (team != static_cast<int>(seen.times.size())) ++seen.wrong;
  if (team > 1 && !detail::in_region()) ++seen.wrong;
  ++seen.times[static_cast<size_t>(index)];
}

}  // namespace

TEST_CASE("thread pool: each index of a team runs once, however the teams change", "[thread_pool]") {
  for (int round = 0; round < 300; ++round) {
    const int team = 1 + round * 7 % 9;
    Seen seen(static_cast<size_t>(team));
    detail::run_region(team, &seen, note);
    CHECK(seen.wrong == 0);
    for (const std::atomic<int>& times : seen.times) CHECK(times == 1);
    CHECK(!detail::in_region());
  }
}

TEST_CASE("thread pool: the whole team is there before a barrier opens", "[thread_pool]") {
  struct Counts {
    std::atomic<int> before{0};
    std::atomic<int> wrong{0};
  } counts;
  detail::run_region(4, &counts, [](void* context, int index, int team) {
    auto& own = *static_cast<Counts*>(context);
    for (int round = 1; round <= 200; ++round) {
      if (index == round % team) std::this_thread::yield();
      ++own.before;
      detail::region_barrier();
      if (own.before != round * team) ++own.wrong;
      detail::region_barrier();
    }
  });
  CHECK(counts.wrong == 0);
}

TEST_CASE("thread pool: inside a region the team is one, and the region goes on after it", "[thread_pool]") {
  std::atomic<int> wrong{0};
  detail::run_region(3, &wrong, [](void* context, int index, int) {
    auto& own = *static_cast<std::atomic<int>*>(context);
    Seen seen(1);
    detail::run_region(5, &seen, [](void* inner, int, int team) {
      if (team != 1) ++static_cast<Seen*>(inner)->wrong;
      detail::region_barrier();  // of one: opens at once
    });
    own += seen.wrong;
    if (!detail::in_region()) ++own;
    if (omp_get_thread_num() != index || omp_get_num_threads() != 3) ++own;
    detail::region_barrier();
  });
  CHECK(wrong == 0);
}

TEST_CASE("thread pool: callers beside each other wait for each other", "[thread_pool]") {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&wrong, i] {
      for (int round = 0; round < 100; ++round) {
        Seen seen(static_cast<size_t>(2 + i));
        detail::run_region(2 + i, &seen, note);
        for (const std::atomic<int>& times : seen.times) wrong += times == 1 ? 0 : 1;
        wrong += seen.wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

#ifndef __clang__  // whose OpenMP has other entry points
TEST_CASE("thread pool: OpenMP's own regions run on it", "[thread_pool]") {
  const int before = thread_count();
  set_thread_count(3);
  CHECK(omp_get_max_threads() == 3);
  CHECK(omp_in_parallel() == 0);
  std::vector<int> seen(3, -1);
  std::atomic<bool> ours{true};
#pragma omp parallel
  {
    const int index = omp_get_thread_num();
    if (omp_get_num_threads() == 3) seen[static_cast<size_t>(index)] = index;
    if (!detail::in_region() || usable_threads() != 1) ours = false;
#pragma omp barrier
  }
  CHECK(seen == std::vector<int>{0, 1, 2});
  CHECK(ours);
  set_thread_count(before);
}

#endif

TEST_CASE("thread pool: waiting threads spin alone and sleep in company", "[thread_pool]") {
  constexpr int64_t kMs = 1'000'000;
  SpinPolicy policy(SpinPolicy::Mode::adaptive);
  CHECK(policy.may_spin(0));
  policy.sample(1 * kMs, 1000);  // what was before the first look does not count
  CHECK(policy.may_spin(1 * kMs));
  policy.sample(2 * kMs, 1000);
  CHECK(policy.may_spin(2 * kMs));
  policy.sample(3 * kMs, 1001);  // a daemon's moment
  CHECK(!policy.may_spin(4 * kMs));
  CHECK(policy.may_spin(14 * kMs));
  int64_t interruptions = 1001;
  for (int64_t ms = 20; ms < 1000; ++ms) {  // in company: some hundred times a second
    if (ms % 4 == 0) ++interruptions;
    policy.sample(ms * kMs, interruptions);
    if (ms > 20) CHECK(!policy.may_spin(ms * kMs));
  }
  CHECK(!policy.may_spin(1050 * kMs));          // the company may only be waiting for its turn
  CHECK(policy.may_spin(1200 * kMs));           // it has gone
  SpinPolicy slow(SpinPolicy::Mode::adaptive);  // company whose turns are long: every 60 ms
  int spinning = 0;
  for (int64_t ms = 0; ms < 1000; ++ms) {
    slow.sample(ms * kMs, ms / 60);
    if (ms >= 500 && slow.may_spin(ms * kMs)) ++spinning;
  }
  CHECK(spinning == 0);
  SpinPolicy alone(SpinPolicy::Mode::adaptive);  // three daemons a second
  spinning = 0;
  for (int64_t ms = 0; ms < 3000; ++ms) {
    alone.sample(ms * kMs, ms / 333);
    spinning += alone.may_spin(ms * kMs) ? 1 : 0;
  }
  CHECK(spinning > 2850);
  SpinPolicy never(SpinPolicy::Mode::never);
  never.sample(1, 0);
  CHECK(!never.may_spin(1000 * kMs));
  SpinPolicy always(SpinPolicy::Mode::always);
  always.sample(1, 0);
  always.sample(2, 1000);
  CHECK(always.may_spin(2));
}
