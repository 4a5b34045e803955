#include "tensor/kernels/pool2d.h"

#include "tensor/kernels/conv2d.h"
#include "tensor/parallel.h"
#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

void check_max(int64_t n, int64_t h, int64_t w, int64_t c, int64_t kernel, int64_t stride, int64_t padding) {
  INFO("n " << n << " h " << h << " w " << w << " c " << c << " kernel " << kernel << " stride " << stride
            << " padding " << padding);
  const auto x = random_values<float>(n * h * w * c, 1, -2.0);  // a zero from the padding would be seen
  const auto wide = converted<double>(x);
  std::vector<float> y(static_cast<size_t>(n * window_positions(h, kernel, stride, padding) *
                                           window_positions(w, kernel, stride, padding) * c));
  std::vector<double> oracle(y.size());
  max_pool2d(kCpu, {.x = x.data(),
                    .y = y.data(),
                    .n = n,
                    .h = h,
                    .w = w,
                    .c = c,
                    .kernel = kernel,
                    .stride = stride,
                    .padding = padding});
  reference::max_pool2d<double>({.x = wide.data(),
                                 .y = oracle.data(),
                                 .n = n,
                                 .h = h,
                                 .w = w,
                                 .c = c,
                                 .kernel = kernel,
                                 .stride = stride,
                                 .padding = padding});
  CHECK(converted<double>(y) == oracle);
}

void check_mean(int64_t n, int64_t h, int64_t w, int64_t c) {
  INFO("n " << n << " h " << h << " w " << w << " c " << c);
  const auto x = random_values<float>(n * h * w * c, 1);
  const auto wide = converted<double>(x);
  std::vector<float> y(static_cast<size_t>(n * c));
  std::vector<float> plain(y.size());
  std::vector<double> oracle(y.size());
  mean_pool2d(kCpu, {.x = x.data(), .y = y.data(), .n = n, .h = h, .w = w, .c = c});
  reference::mean_pool2d<float>({.x = x.data(), .y = plain.data(), .n = n, .h = h, .w = w, .c = c});
  reference::mean_pool2d<double>({.x = wide.data(), .y = oracle.data(), .n = n, .h = h, .w = w, .c = c});
  check_against_oracle(y, plain, oracle);
}

}  // namespace

TEST_CASE("pool2d: by hand", "[pool2d]") {
  const std::vector<float> x{-1, 10, -2, 20, -3, 30, -4, 40, -5, 50, -6, 60};  // 2 x 3 pixels, two channels
  std::vector<float> y(4);
  on_every_isa([&] {
    max_pool2d(kCpu, {.x = x.data(),
                      .y = y.data(),
                      .n = 1,
                      .h = 2,
                      .w = 3,
                      .c = 2,
                      .kernel = 3,
                      .stride = 2,
                      .padding = 1});
    CHECK(y == std::vector<float>{-1, 50, -2, 60});
    std::vector<float> mean(2);
    mean_pool2d(kCpu, {.x = x.data(), .y = mean.data(), .n = 1, .h = 2, .w = 3, .c = 2});
    CHECK(mean == std::vector<float>{-3.5F, 35});
  });
}

TEST_CASE("pool2d: against the double oracle", "[pool2d]") {
  on_every_isa([] {
    for (const int64_t c : {1, 7, 16, 31, 64, 65}) {
      check_max(2, 9, 6, c, 3, 2, 1);
      check_mean(3, 5, 6, c);
    }
    check_max(1, 1, 1, 5, 3, 2, 1);
    check_max(2, 7, 8, 20, 2, 2, 0);
    check_max(1, 5, 5, 8, 3, 1, 0);
    check_max(1, 4, 6, 8, 4, 3, 2);
    check_mean(1, 1, 1, 3);
    check_mean(2, 7, 7, 2048);
    check_max(0, 4, 4, 8, 3, 2, 1);
    check_mean(0, 4, 4, 8);
  });
}

TEST_CASE("pool2d: the same bits for any number of threads", "[pool2d]") {
  const auto x = random_values<float>(int64_t{4} * 31 * 29 * 48, 1);
  const int before = thread_count();
  const auto run = [&](int threads) {
    set_thread_count(threads);
    std::vector<float> y(static_cast<size_t>(4 * 16 * 15 * 48 + 4 * 48));
    max_pool2d(kCpu, {.x = x.data(),
                      .y = y.data(),
                      .n = 4,
                      .h = 31,
                      .w = 29,
                      .c = 48,
                      .kernel = 3,
                      .stride = 2,
                      .padding = 1});
    mean_pool2d(kCpu, {.x = x.data(), .y = y.data() + 4 * 16 * 15 * 48, .n = 4, .h = 31, .w = 29, .c = 48});
    return y;
  };
  const auto one = run(1);
  CHECK(run(3) == one);
  set_thread_count(before);
}

TEST_CASE("pool2d: no channels, no pictures, NaN", "[pool2d]") {
  on_every_isa([] {
    check_max(2, 5, 4, 0, 3, 2, 1);
    check_mean(2, 5, 4, 0);
    check_max(0, 5, 4, 0, 3, 2, 1);
    // A NaN anywhere under the window is the result, in its own channel only.
    for (const int64_t channels : {1, 16, 19}) {
      for (int64_t pixel = 0; pixel < 9; ++pixel) {
        std::vector<float> x(static_cast<size_t>(9 * channels), 1.0F);
        x[static_cast<size_t>((pixel + 1) * channels - 1)] = std::numeric_limits<float>::quiet_NaN();
        std::vector<float> y(static_cast<size_t>(channels), 7.0F);
        std::vector<float> plain = y;
        MaxPool2d<float> p{};
        p.x = x.data();
        p.y = y.data();
        p.n = 1;
        p.h = p.w = p.kernel = 3;
        p.c = channels;
        p.stride = 1;
        max_pool2d(kCpu, p);
        CHECK(std::isnan(y.back()));
        for (int64_t c = 0; c + 1 < channels; ++c) CHECK(y[static_cast<size_t>(c)] == 1.0F);
        p.y = plain.data();
        reference::max_pool2d(p);
        CHECK(std::isnan(plain.back()));
      }
    }
  });
}

TEST_CASE("pool2d: a window that fits nowhere is refused before anything is written", "[pool2d]") {
  const std::vector<float> x(64, 1.0F);
  std::vector<float> y(64, 7.0F);
  const auto run = [&](int64_t h, int64_t w, int64_t kernel, int64_t stride, int64_t padding) {
    MaxPool2d<float> p{};
    p.x = x.data();
    p.y = y.data();
    p.n = 1;
    p.h = h;
    p.w = w;
    p.c = 1;
    p.kernel = kernel;
    p.stride = stride;
    p.padding = padding;
    CHECK_THROWS_AS(reference::max_pool2d(p), Error);
    max_pool2d(kCpu, p);
  };
  on_every_isa([&] {
    CHECK_THROWS_WITH(run(1, 1, 4, 1, 0), "max_pool2d: a picture of 1 x 1 under a window of 4, padding 0");
    CHECK_THROWS_AS(run(8, 2, 3, 1, 0), Error);
    CHECK_THROWS_AS(run(2, 8, 3, 1, 0), Error);
    CHECK_THROWS_AS(run(0, 4, 3, 2, 1), Error);
    CHECK_THROWS_AS(run(4, 4, 3, 0, 1), Error);
    CHECK_THROWS_AS(run(4, 4, 0, 1, 0), Error);
    CHECK_THROWS_AS(run(4, 4, 3, 1, 2), Error);
    CHECK_THROWS_AS(run(4, 4, 3, 1, -1), Error);
    CHECK(y == std::vector<float>(64, 7.0F));
  });
}
