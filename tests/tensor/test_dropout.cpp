#include "tensor/kernels/dropout.h"

#include "tensor/parallel.h"
#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
std::vector<T> apply(void (*kernel)(const Dropout<T>&), const std::vector<T>& x,
                     const std::vector<T>& residual, float p, uint64_t seed, uint64_t stream) {
  std::vector<T> y(x.size(), T{-77});
  kernel({.x = x.data(),
          .residual = residual.empty() ? nullptr : residual.data(),
          .y = y.data(),
          .numel = static_cast<int64_t>(x.size()),
          .p = p,
          .seed = seed,
          .stream = stream});
  return y;
}
void fast(const Dropout<float>& p) { dropout(kCpu, p); }

}  // namespace

TEST_CASE("dropout: the random numbers are Philox-4x32-10's", "[dropout]") {
  // Known answers of the Random123 distribution: all zero bits, all one bits.
  const Philox4 zero = philox(0, 0, 0);
  CHECK(zero.v[0] == 0x6627e8d5U);
  CHECK(zero.v[1] == 0xe169c58dU);
  CHECK(zero.v[2] == 0xbc57ac4cU);
  CHECK(zero.v[3] == 0x9b00dbd8U);
  const Philox4 one = philox(~0ULL, ~0ULL, ~0ULL);
  CHECK(one.v[0] == 0x408f276dU);
  CHECK(one.v[1] == 0x41c83b0eU);
  CHECK(one.v[2] == 0xa20bc7c6U);
  CHECK(one.v[3] == 0x6d5451fdU);
}

TEST_CASE("dropout: by the definition", "[dropout]") {
  const uint64_t seed = 0x123456789abcdefULL;
  const uint64_t stream = 0xfedcba9876543210ULL;
  on_every_isa([&] {
    for (const int64_t count : {0, 1, 3, 4, 31, 32, 33, 63, 64, 65, 127, 257, 20000}) {
      for (const bool with_residual : {false, true}) {
        for (const float p : {0.0F, 0.1F, 0.5F, 0.9F}) {
          INFO("count " << count << " residual " << with_residual << " p " << p);
          const auto x = random_values<float>(count, 1);
          const auto residual = random_values<float>(with_residual ? count : 0, 2);
          const auto got = apply(fast, x, residual, p, seed, stream);
          check_against_oracle(got, apply(reference::dropout<float>, x, residual, p, seed, stream),
                               apply(reference::dropout<double>, converted<double>(x),
                                     converted<double>(residual), p, seed, stream));
          std::vector<float> in_place = x;
          dropout(kCpu, {.x = in_place.data(),
                         .residual = with_residual ? residual.data() : nullptr,
                         .y = in_place.data(),
                         .numel = count,
                         .p = p,
                         .seed = seed,
                         .stream = stream});
          CHECK(in_place == got);
        }
      }
    }
  });
}

TEST_CASE("dropout: the mask does not depend on threads; streams differ; the rate is right", "[dropout]") {
  on_every_isa([] {
    const std::vector<float> ones(200000, 1.0F);
    const auto y = apply(fast, ones, {}, 0.25F, 7, 3);
    double dropped = 0;
    double total = 0;
    for (const float value : y) {
      dropped += value == 0.0F ? 1 : 0;
      total += static_cast<double>(value);
    }
    CHECK(dropped / 200000 == Approx(0.25).margin(0.005));
    CHECK(total / 200000 == Approx(1.0).margin(0.01));
    CHECK(y != apply(fast, ones, {}, 0.25F, 7, 4));
    CHECK(y != apply(fast, ones, {}, 0.25F, 8, 3));
    const int before = thread_count();
    set_thread_count(before == 1 ? 3 : 1);
    CHECK(y == apply(fast, ones, {}, 0.25F, 7, 3));
    set_thread_count(before);
  });
}

TEST_CASE("dropout: backward is the same op on the gradient", "[dropout]") {
  const auto x = random_values<double>(37, 1);
  const auto dy = random_values<double>(37, 2);
  const auto y = apply(reference::dropout<double>, x, {}, 0.3F, 5, 6);
  const auto dx = apply(reference::dropout<double>, dy, {}, 0.3F, 5, 6);
  for (size_t i = 0; i < x.size(); ++i) {
    auto up = x;
    up[i] += 0.5;
    const auto moved = apply(reference::dropout<double>, up, {}, 0.3F, 5, 6);
    CHECK(dx[i] == Approx((moved[i] - y[i]) / 0.5 * dy[i]).margin(1e-9));
  }
}
