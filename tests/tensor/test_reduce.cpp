#include "tensor/kernels/reduce.h"

#include "tensor/parallel.h"
#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
std::vector<T> sums(void (*kernel)(const SumMiddle<T>&), const std::vector<T>& x, int64_t outer,
                    int64_t reduce, int64_t inner) {
  std::vector<T> y(static_cast<size_t>(outer * inner) + 3, T{7});  // three more that nobody may write
  kernel({.x = x.data(), .y = y.data(), .outer = outer, .reduce = reduce, .inner = inner});
  for (size_t i = y.size() - 3; i < y.size(); ++i) CHECK(y[i] == T{7});
  y.resize(y.size() - 3);
  return y;
}
void fast(const SumMiddle<float>& p) { sum_middle(kCpu, p); }

}  // namespace

TEST_CASE("reduce: by hand", "[reduce]") {
  on_every_isa([] {
    const std::vector<float> x{1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
    CHECK(sums(fast, x, 2, 3, 2) == std::vector<float>{9, 12, 90, 120});
    CHECK(sums(fast, x, 2, 6, 1) == std::vector<float>{21, 210});
    CHECK(sums(fast, x, 1, 2, 6) == std::vector<float>{11, 22, 33, 44, 55, 66});
    CHECK(sums(fast, {}, 2, 0, 3) == std::vector<float>(6, 0.0F));
    CHECK(sums(fast, {}, 2, 0, 1) == std::vector<float>(2, 0.0F));
    CHECK(sums(fast, {}, 0, 4, 3).empty());
  });
}

TEST_CASE("reduce: against the double oracle", "[reduce]") {
  on_every_isa([] {
    for (const int64_t inner : {1, 2, 7, 8, 15, 16, 17, 33, 64, 100}) {
      for (const int64_t reduce : {1, 2, 63, 64, 65, 129, 1000}) {
        for (const int64_t outer : {1, 3}) {
          INFO("outer " << outer << " reduce " << reduce << " inner " << inner);
          const auto x = random_values<float>(outer * reduce * inner, 1);
          check_against_oracle(
              sums(fast, x, outer, reduce, inner),
              sums(reference::sum_middle<float>, x, outer, reduce, inner),
              sums(reference::sum_middle<double>, converted<double>(x), outer, reduce, inner));
        }
      }
    }
  });
}

TEST_CASE("reduce: long sums lose little, and the bits do not depend on threads", "[reduce]") {
  const int before = thread_count();
  on_every_isa([] {
    // A running float sum of these would stop growing at 2^24.
    const std::vector<float> ones(40'000'000, 1.0F);
    CHECK(sums(fast, ones, 1, 40'000'000, 1)[0] == 4e7F);
    CHECK(sums(fast, ones, 1, 20'000'000, 2) == std::vector<float>(2, 2e7F));
    const auto x = random_values<float>(int64_t{40} * 501 * 33, 1);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 5}) {
      set_thread_count(threads);
      results.push_back(sums(fast, x, 40, 501, 33));
      results.push_back(sums(fast, x, 33, 501 * 40, 1));
    }
    CHECK(results[0] == results[2]);
    CHECK(results[0] == results[4]);
    CHECK(results[1] == results[3]);
    CHECK(results[1] == results[5]);
  });
  set_thread_count(before);
}
