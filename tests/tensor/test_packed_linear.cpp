#include "tensor/kernels/packed_linear.h"

#include <thread>

#include "nn/linear.h"
#include "tensor/kernels/matmul.h"
#include "tensor/parallel.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

// y = f(x W^T + b) + residual from the reference kernels.
template <class T>
std::vector<T> plain_linear(const std::vector<T>& w, const std::vector<T>& bias, const std::vector<T>& x,
                            const std::vector<T>& residual, int64_t rows, int64_t n, int64_t k,
                            Activation activation) {
  std::vector<T> y(static_cast<size_t>(rows * n));
  reference::matmul(Matmul<T>{x.data(), w.data(), y.data(), 1, rows, n, k, 0, 0, 0, false, true, false});
  reference::bias_activation_fwd(
      BiasActivationFwd<T>{y.data(), bias.empty() ? nullptr : bias.data(), y.data(), rows, n, activation});
  for (size_t i = 0; i < residual.size(); ++i) y[i] += residual[i];
  return y;
}

void check_shape(int64_t n, int64_t k, Activation activation, bool with_bias, bool with_residual,
                 std::initializer_list<int64_t> row_counts) {
  const auto w = random_values<float>(n * k, 1, 0.02, 0.2);
  const auto bias = random_values<float>(with_bias ? n : 0, 2);
  std::vector<float> source = w;  // dropped before the first run
  const PackedLinear layer(source.data(), with_bias ? bias.data() : nullptr, n, k, activation, with_residual);
  source.assign(source.size(), std::numeric_limits<float>::quiet_NaN());
  CHECK(layer.in_features() == k);
  CHECK(layer.out_features() == n);
  CHECK(layer.bytes() >= static_cast<size_t>(n * k + (with_bias ? n : 0)) * sizeof(float));
  for (const int64_t rows : row_counts) {
    INFO("rows " << rows << " n " << n << " k " << k << " activation " << static_cast<int>(activation)
                 << " bias " << with_bias << " residual " << with_residual);
    const auto x = random_values<float>(rows * k, 3);
    const auto residual = random_values<float>(with_residual ? rows * n : 0, 4);
    std::vector<float> y(static_cast<size_t>(rows * n), std::numeric_limits<float>::quiet_NaN());
    layer.run(x.data(), rows, with_residual ? residual.data() : nullptr, y.data());
    const auto plain = plain_linear(w, bias, x, residual, rows, n, k, activation);
    const auto oracle = plain_linear(converted<double>(w), converted<double>(bias), converted<double>(x),
                                     converted<double>(residual), rows, n, k, activation);
    check_against_oracle(y, plain, oracle);
    if (with_residual) {
      std::vector<float> in_place = residual;
      layer.run(x.data(), rows, in_place.data(), in_place.data());
      CHECK(in_place == y);
    }
  }
}

}  // namespace

TEST_CASE("packed_linear: by hand", "[packed_linear]") {
  const std::vector<float> w{1, 2, 3, 4, 5, 6};  // [2,3]
  const std::vector<float> bias{-20, 1};
  const std::vector<float> x{1, 1, 1, 2, 0, -1};
  const std::vector<float> residual{100, 200, 300, 400};
  std::vector<float> y(4);
  const PackedLinear layer(w.data(), bias.data(), 2, 3, Activation::relu, true);
  layer.run(x.data(), 2, residual.data(), y.data());
  CHECK(y == std::vector<float>{100, 216, 300, 403});  // relu(-14), relu(16), relu(-21), relu(3)
}

TEST_CASE("packed_linear: against the double oracle", "[packed_linear]") {
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::gelu, Activation::quick_gelu}) {
    for (const bool bias : {false, true}) {
      for (const bool residual : {false, true}) {
        check_shape(65, 33, activation, bias, residual, {1, 2, 31, 197});
        check_shape(128, 64, activation, bias, residual, {1, 8, 50});
      }
    }
  }
  check_shape(1, 1, Activation::gelu, true, true, {1, 3});
  check_shape(257, 127, Activation::none, true, true, {1, 5, 33});
  check_shape(1, 300, Activation::none, true, false, {1, 32});
}

TEST_CASE("packed_linear: more row counts than it keeps, and repeated calls give the same bits",
          "[packed_linear]") {
  const auto w = random_values<float>(48 * 40, 1);
  const auto x = random_values<float>(40 * 40, 2);
  const PackedLinear layer(w.data(), nullptr, 48, 40, Activation::gelu, false);
  std::vector<float> first(48 * 3);
  layer.run(x.data(), 3, nullptr, first.data());
  for (int64_t rows = 1; rows <= 40; ++rows) {
    std::vector<float> y(static_cast<size_t>(48 * rows));
    layer.run(x.data(), rows, nullptr, y.data());
  }
  std::vector<float> again(48 * 3);
  layer.run(x.data(), 3, nullptr, again.data());
  CHECK(first == again);
}

TEST_CASE("packed_linear: no rows, moves, several threads at once", "[packed_linear]") {
  const auto w = random_values<float>(32 * 24, 1);
  const auto x = random_values<float>(6 * 24, 2);
  PackedLinear made(w.data(), nullptr, 32, 24, Activation::none, false);
  made.run(nullptr, 0, nullptr, nullptr);
  const PackedLinear layer = std::move(made);
  std::vector<float> expected(6 * 32);
  layer.run(x.data(), 6, nullptr, expected.data());
  std::vector<std::vector<float>> results(4, std::vector<float>(6 * 32));
  std::vector<std::thread> threads;
  for (auto& y : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) layer.run(x.data(), 6, nullptr, y.data());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& y : results) CHECK(max_error(y, expected) < 1e-5);
}

TEST_CASE("packed_linear: wrong use throws", "[packed_linear]") {
  const std::vector<float> w(6, 1.0F);
  std::vector<float> y(2);
  const PackedLinear with(w.data(), nullptr, 2, 3, Activation::none, true);
  const PackedLinear without(w.data(), nullptr, 2, 3, Activation::none, false);
  CHECK_THROWS_AS(with.run(w.data(), 1, nullptr, y.data()), Error);
  CHECK_THROWS_AS(without.run(w.data(), 1, y.data(), y.data()), Error);
  CHECK_THROWS_AS(PackedLinear(w.data(), nullptr, 0, 3, Activation::none, false), Error);
}

TEST_CASE("packed_linear: a NaN passes every activation", "[packed_linear]") {
  const auto w = random_values<float>(40 * 24, 1);
  auto x = random_values<float>(5 * 24, 2);
  x[2 * 24 + 3] = std::numeric_limits<float>::quiet_NaN();
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::gelu, Activation::quick_gelu}) {
    for (const bool with_residual : {false, true}) {
      INFO("activation " << static_cast<int>(activation) << " residual " << with_residual);
      const PackedLinear layer(w.data(), nullptr, 40, 24, activation, with_residual);
      const std::vector<float> residual(5 * 40, 1.0F);
      std::vector<float> y(5 * 40, 7.0F);
      layer.run(x.data(), 5, with_residual ? residual.data() : nullptr, y.data());
      for (size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i / 40 == 2));
    }
  }
}

TEST_CASE("packed_linear: the layer refuses a residual of another shape, packed or not", "[packed_linear]") {
  Generator generator(1);
  nn::Linear layer(6, 8, generator, {.residual = true});
  const Variable x(Tensor::zeros({4, 6}));
  const NoGrad no_grad;
  for (const bool packed : {false, true}) {
    INFO("packed " << packed);
    if (packed) CHECK(layer.pack());
    CHECK(layer.forward(x, Variable(Tensor::zeros({4, 8}))).shape() == Shape{4, 8});
    for (const Shape& shape :
         {Shape{1, 8}, Shape{4, 1}, Shape{8}, Shape{4, 7}, Shape{2, 2, 8}, Shape{5, 8}}) {
      INFO("residual " << shape);
      CHECK_THROWS_AS(layer.forward(x, Variable(Tensor::zeros(shape))), Error);
    }
    CHECK_THROWS_AS(layer.forward(x, Variable(Tensor::zeros({4, 8}, DType::f64))), Error);
  }
}
