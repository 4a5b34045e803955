#include "tensor/kernels/conv2d.h"

#include <thread>

#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
struct Case {
  std::vector<T> x, weight, bias, residual, y;
  Conv2dFwd<T> p{};

  Case(int64_t n, int64_t h, int64_t w, const Conv2dGeometry& g, bool with_bias, bool with_residual,
       bool relu)
      : x(random_values<T>(n * h * w * g.in_channels, 1)),
        weight(random_values<T>(g.weights(), 2, 0.02, 0.2)),
        bias(random_values<T>(with_bias ? g.out_channels : 0, 3)) {
    const int64_t out = n * window_positions(h, g.kernel_h, g.stride, g.padding) *
                        window_positions(w, g.kernel_w, g.stride, g.padding) * g.out_channels;
    residual = random_values<T>(with_residual ? out : 0, 4);
    y.assign(static_cast<size_t>(out), std::numeric_limits<T>::quiet_NaN());
    p = {.x = x.data(),
         .weight = weight.data(),
         .bias = with_bias ? bias.data() : nullptr,
         .residual = with_residual ? residual.data() : nullptr,
         .y = y.data(),
         .n = n,
         .h = h,
         .w = w,
         .geometry = g,
         .relu = relu};
  }
};

void check_case(int64_t n, int64_t h, int64_t w, const Conv2dGeometry& g, bool bias = true,
                bool residual = false, bool relu = false) {
  INFO("n " << n << " h " << h << " w " << w << " in " << g.in_channels << " out " << g.out_channels
            << " kernel " << g.kernel_h << 'x' << g.kernel_w << " stride " << g.stride << " padding "
            << g.padding << " bias " << bias << " residual " << residual << " relu " << relu);
  Case<float> got(n, h, w, g, bias, residual, relu);
  Case<float> plain(n, h, w, g, bias, residual, relu);
  Case<double> oracle(n, h, w, g, bias, residual, relu);
  conv2d_fwd(kCpu, got.p);
  reference::conv2d_fwd(plain.p);
  reference::conv2d_fwd(oracle.p);
  check_against_oracle(got.y, plain.y, oracle.y);
}

}  // namespace

TEST_CASE("conv2d: by hand", "[conv2d]") {
  // One picture of 2 x 3 pixels, two channels: the second is ten times the first.
  const std::vector<float> x{1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60};
  // One kernel of 3 x 3: the first channel looks at the middle, the second at the pixel to the right of it.
  std::vector<float> weight(18, 0.0F);
  weight[4] = 1.0F;
  weight[9 + 5] = 2.0F;
  const std::vector<float> bias{-50.0F};
  const std::vector<float> residual{0, 0, 1, 0, 0, 2};
  std::vector<float> y(6);
  const Conv2dGeometry geometry{2, 1, 3, 3, 1, 1};
  // middle + 20 * right neighbour - 50
  const std::vector<float> sums{1 + 40 - 50, 2 + 60 - 50, 3 - 50, 4 + 100 - 50, 5 + 120 - 50, 6 - 50};
  Conv2dFwd<float> p{.x = x.data(),
                     .weight = weight.data(),
                     .bias = bias.data(),
                     .y = y.data(),
                     .n = 1,
                     .h = 2,
                     .w = 3,
                     .geometry = geometry};
  SECTION("kernel") {
    conv2d_fwd(kCpu, p);
    CHECK(y == sums);
  }
  SECTION("reference") {
    reference::conv2d_fwd(p);
    CHECK(y == sums);
  }
  SECTION("residual, then ReLU; stride 2") {
    p.residual = residual.data();
    p.relu = true;
    conv2d_fwd(kCpu, p);
    CHECK(y == std::vector<float>{0, 12, 0, 54, 75, 0});
    p.residual = nullptr;
    p.geometry.stride = 2;
    p.relu = false;
    conv2d_fwd(kCpu, p);
    CHECK(y[0] == sums[0]);
    CHECK(y[1] == sums[2]);
  }
}

TEST_CASE("conv2d: against the double oracle", "[conv2d]") {
  for (const int64_t kernel : {1, 2, 3, 5, 7}) {
    for (const int64_t stride : {1, 2, 3}) {
      for (int64_t padding = 0; padding <= kernel / 2; ++padding) {
        check_case(2, 9, 7, {5, 6, kernel, kernel, stride, padding});
        check_case(1, 8, 13, {16, 33, kernel, kernel, stride, padding}, true, true, true);
      }
    }
  }
  for (const bool bias : {false, true}) {
    for (const bool residual : {false, true}) {
      for (const bool relu : {false, true}) {
        check_case(3, 5, 6, {16, 32, 3, 3, 1, 1}, bias, residual, relu);
        check_case(3, 5, 6, {31, 17, 1, 1, 2, 0}, bias, residual, relu);
      }
    }
  }
  check_case(1, 1, 1, {1, 1, 1, 1, 1, 0});                      // one number
  check_case(2, 1, 1, {64, 48, 3, 3, 1, 1}, true, true, true);  // only the kernel's middle is used
  check_case(1, 1, 1, {3, 4, 3, 3, 2, 1});
  check_case(1, 4, 11, {3, 8, 3, 5, 1, 2});                         // a kernel that is not square
  check_case(1, 45, 45, {3, 64, 7, 7, 2, 3}, true, false, true);    // ResNet's first layer
  check_case(2, 14, 14, {256, 64, 1, 1, 1, 0}, true, false, true);  // and some of the others
  check_case(2, 14, 14, {64, 64, 3, 3, 2, 1}, true, false, true);
  check_case(2, 7, 7, {64, 256, 1, 1, 1, 0}, true, true, true);
}

TEST_CASE("conv2d: prepared, with more sizes than it keeps, in place and from several threads", "[conv2d]") {
  const Conv2dGeometry geometry{16, 24, 3, 3, 1, 1};
  Case<float> c(2, 6, 5, geometry, true, true, true);
  conv2d_fwd(kCpu, c.p);
  std::vector<float> source = c.weight;
  std::shared_ptr<const PreparedWeight> prepared;
  prepare_conv2d(kCpu, {.weight = source.data(), .geometry = geometry, .prepared = &prepared});
  source.assign(source.size(), std::numeric_limits<float>::quiet_NaN());
  CHECK(prepared->bytes() >= source.size() * sizeof(float));
  const auto run = [&](Conv2dFwd<float> p, float* y) {
    p.weight = nullptr;
    p.prepared = prepared.get();
    if (y != nullptr) p.y = y;
    conv2d_fwd(kCpu, p);
  };
  Conv2dFwd<float> none = c.p;
  none.n = 0;
  none.x = none.residual = none.y = nullptr;
  run(none, nullptr);  // no pictures
  std::vector<float> first(c.y.size());
  run(c.p, first.data());
  CHECK(first == c.y);
  for (int64_t h = 1; h <= 12; ++h) {
    for (const bool epilogue : {false, true}) {  // one weight for every epilogue
      Case<float> other(1, h, 1 + h / 2, geometry, epilogue, epilogue, epilogue);
      std::vector<float> y(other.y.size());
      run(other.p, y.data());
      conv2d_fwd(kCpu, other.p);
      CHECK(y == other.y);
    }
  }
  for (const int64_t w : {5, 6, 9, 5}) {  // only the width changes
    Case<float> wider(2, 6, w, geometry, true, true, true);
    std::vector<float> y(wider.y.size());
    run(wider.p, y.data());
    conv2d_fwd(kCpu, wider.p);
    CHECK(y == wider.y);
  }
  Case<float> in_place = c;
  in_place.p.residual = in_place.residual.data();
  run(in_place.p, in_place.residual.data());
  CHECK(in_place.residual == first);
  std::vector<std::vector<float>> results(4, std::vector<float>(c.y.size()));
  std::vector<std::thread> threads;
  for (auto& y : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) run(c.p, y.data());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& y : results) CHECK(max_error(y, first) < 1e-5);
}

TEST_CASE("conv2d: wrong use throws", "[conv2d]") {
  const std::vector<float> numbers(64, 1.0F);
  std::vector<float> y(64, 7.0F);
  std::shared_ptr<const PreparedWeight> prepared;
  const auto prepare = [&](const Conv2dGeometry& geometry) {
    prepare_conv2d(kCpu, {.weight = numbers.data(), .geometry = geometry, .prepared = &prepared});
  };
  for (const Conv2dGeometry& geometry :
       {Conv2dGeometry{0, 1, 1, 1, 1, 0}, Conv2dGeometry{1, 0, 1, 1, 1, 0}, Conv2dGeometry{1, 1, 0, 1, 1, 0},
        Conv2dGeometry{1, 1, 3, 3, 0, 0}, Conv2dGeometry{1, 1, 3, 3, 1, -1},
        Conv2dGeometry{1, 1, 3, 3, 1, 3}}) {
    CHECK_THROWS_AS(prepare(geometry), Error);
    Conv2dFwd<float> p{.x = numbers.data(), .weight = numbers.data(), .y = y.data(), .n = 1, .h = 4, .w = 4};
    p.geometry = geometry;
    CHECK_THROWS_AS(conv2d_fwd(kCpu, p), Error);
    CHECK_THROWS_AS(reference::conv2d_fwd(p), Error);
  }
  const Conv2dGeometry geometry{1, 1, 3, 3, 1, 0};
  prepare(geometry);
  Conv2dFwd<float> p{.x = numbers.data(), .y = y.data(), .n = 1, .h = 2, .w = 3};
  p.geometry = geometry;
  p.prepared = prepared.get();
  CHECK_THROWS_AS(conv2d_fwd(kCpu, p), Error);  // too small a picture
  p.h = 3;
  conv2d_fwd(kCpu, p);
  p.geometry.out_channels = 2;
  CHECK_THROWS_AS(conv2d_fwd(kCpu, p), Error);  // prepared for another layer
  p.geometry = geometry;
  CHECK_THROWS_AS(reference::conv2d_fwd(p), Error);  // and for another backend
  reference::prepare_conv2d<float>({.weight = numbers.data(), .geometry = geometry, .prepared = &prepared});
  p.prepared = prepared.get();
  CHECK_THROWS_AS(conv2d_fwd(kCpu, p), Error);
  reference::conv2d_fwd(p);
  CHECK(y[0] == 9.0F);
}
