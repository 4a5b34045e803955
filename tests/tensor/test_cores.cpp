// Cores that a process may use: its mask, and the quotas of its control groups.
#include "tensor/cores.h"

#include <sched.h>

#include <thread>

#include "tests/catch.h"

using namespace clipcap;

TEST_CASE("cores: quotas as the kernel writes them", "[cores]") {
  CHECK(detail::cores_of_quota("200000 100000") == 2);
  CHECK(detail::cores_of_quota("150000 100000") == 2);  // a core and a half keep two threads going
  CHECK(detail::cores_of_quota("1000 100000") == 1);
  CHECK(detail::cores_of_quota("max 100000") == 0);
  CHECK(detail::cores_of_quota("-1 100000") == 0);
  CHECK(detail::cores_of_quota("") == 0);
  CHECK(detail::cores_of_quota("200000") == 0);
  CHECK(detail::cores_of_quota("200000 0") == 0);
  CHECK(detail::cores_of_quota(" ") == 0);
}

TEST_CASE("cores: the affinity mask counts", "[cores]") {
  const int all = available_cores();
  CHECK(all >= 1);
  int one = 0;
  std::thread([&] {  // the mask is the thread's own
    cpu_set_t mask;
    REQUIRE(sched_getaffinity(0, sizeof mask, &mask) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    REQUIRE(sched_setaffinity(0, sizeof mask, &mask) == 0);
    one = available_cores();
  })
      .join();
  CHECK(one == 1);
  CHECK(available_cores() == all);
}
