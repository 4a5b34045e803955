#include "tensor/kernels/activation.h"

#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

constexpr Activation kAll[] = {Activation::none, Activation::relu, Activation::gelu, Activation::quick_gelu,
                               Activation::gelu_tanh};

template <class T>
std::vector<T> forward(void (*kernel)(const BiasActivationFwd<T>&), const std::vector<T>& x,
                       const std::vector<T>& bias, int64_t rows, int64_t dim, Activation activation) {
  std::vector<T> y(x.size(), std::numeric_limits<T>::quiet_NaN());
  kernel({.x = x.data(),
          .bias = bias.empty() ? nullptr : bias.data(),
          .y = y.data(),
          .rows = rows,
          .dim = dim,
          .activation = activation});
  return y;
}

template <class T>
struct Grads {
  std::vector<T> dx, dbias;
};
template <class T>
Grads<T> backward(void (*kernel)(const BiasActivationBwd<T>&), const std::vector<T>& dy,
                  const std::vector<T>& x, const std::vector<T>& bias, int64_t rows, int64_t dim,
                  Activation activation, bool want_bias = true) {
  Grads<T> g;
  g.dx.assign(x.size(), std::numeric_limits<T>::quiet_NaN());
  g.dbias.assign(want_bias ? static_cast<size_t>(dim) : 0, std::numeric_limits<T>::quiet_NaN());
  kernel({.dy = dy.data(),
          .x = x.data(),
          .bias = bias.empty() ? nullptr : bias.data(),
          .dx = g.dx.data(),
          .dbias = want_bias ? g.dbias.data() : nullptr,
          .rows = rows,
          .dim = dim,
          .activation = activation});
  return g;
}

void fast_forward(const BiasActivationFwd<float>& p) { bias_activation_fwd(kCpu, p); }
void fast_backward(const BiasActivationBwd<float>& p) { bias_activation_bwd(kCpu, p); }

}  // namespace

TEST_CASE("activation: known values", "[activation]") {
  const std::vector<float> x{-3, -0.5F, 0, 0.5F, 3};
  const std::vector<float> bias{1, 1, 1, 1, 1};  // -2, 0.5, 1, 1.5, 4
  const auto check = [&](Activation activation, std::vector<double> expected) {
    INFO(static_cast<int>(activation));
    CHECK(max_error(forward(fast_forward, x, bias, 1, 5, activation), expected) < 1e-6);
    CHECK(max_error(forward(reference::bias_activation_fwd<float>, x, bias, 1, 5, activation), expected) <
          1e-6);
  };
  check(Activation::none, {-2, 0.5, 1, 1.5, 4});
  check(Activation::relu, {0, 0.5, 1, 1.5, 4});
  check(Activation::gelu, {-0.04550026, 0.34573123, 0.84134475, 1.39978919, 3.99987331});
  check(Activation::quick_gelu, {-0.06434138, 0.35038844, 0.84579577, 1.39166220, 3.99558528});
  check(Activation::gelu_tanh, {-0.04540231, 0.34571401, 0.84119199, 1.39957158, 3.99992975});
}

TEST_CASE("activation: gradient against central differences", "[activation]") {
  const int64_t rows = 3;
  const int64_t dim = 5;
  const auto x = random_values<double>(rows * dim, 1);
  const auto bias = random_values<double>(dim, 2);
  const auto dy = random_values<double>(rows * dim, 3);
  for (const Activation activation : kAll) {
    const auto g = backward(reference::bias_activation_bwd<double>, dy, x, bias, rows, dim, activation);
    const auto loss = [&](const std::vector<double>& at, const std::vector<double>& offset) {
      const auto y = forward(reference::bias_activation_fwd<double>, at, offset, rows, dim, activation);
      double total = 0;
      for (size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
      return total;
    };
    const double h = 1e-5;
    for (size_t i = 0; i < x.size(); ++i) {
      auto up = x;
      auto down = x;
      up[i] += h;
      down[i] -= h;
      CHECK(g.dx[i] == Approx((loss(up, bias) - loss(down, bias)) / (2 * h)).margin(1e-6).epsilon(1e-6));
    }
    for (size_t j = 0; j < bias.size(); ++j) {
      auto up = bias;
      auto down = bias;
      up[j] += h;
      down[j] -= h;
      CHECK(g.dbias[j] == Approx((loss(x, up) - loss(x, down)) / (2 * h)).margin(1e-6).epsilon(1e-6));
    }
  }
}

TEST_CASE("activation: against the double oracle", "[activation]") {
  on_every_isa([] {
    for (const Activation activation : kAll) {
      for (const bool with_bias : {false, true}) {
        for (const int64_t dim : {1, 31, 32, 33, 127, 257}) {
          for (const int64_t rows : {1, 2, 9, 70}) {
            INFO("activation " << static_cast<int>(activation) << " rows " << rows << " dim " << dim);
            const auto x = random_values<float>(rows * dim, 1, 0.2, 2.0);
            const auto bias = random_values<float>(with_bias ? dim : 0, 2);
            const auto dy = random_values<float>(rows * dim, 3);
            const auto xd = converted<double>(x);
            const auto bd = converted<double>(bias);
            const auto dyd = converted<double>(dy);
            check_against_oracle(
                forward(fast_forward, x, bias, rows, dim, activation),
                forward(reference::bias_activation_fwd<float>, x, bias, rows, dim, activation),
                forward(reference::bias_activation_fwd<double>, xd, bd, rows, dim, activation));
            const auto got = backward(fast_backward, dy, x, bias, rows, dim, activation);
            const auto plain =
                backward(reference::bias_activation_bwd<float>, dy, x, bias, rows, dim, activation);
            const auto oracle =
                backward(reference::bias_activation_bwd<double>, dyd, xd, bd, rows, dim, activation);
            check_against_oracle(got.dx, plain.dx, oracle.dx);
            check_against_oracle(got.dbias, plain.dbias, oracle.dbias);
            CHECK(got.dx == backward(fast_backward, dy, x, bias, rows, dim, activation, false).dx);
            CHECK(got.dbias == backward(fast_backward, dy, x, bias, rows, dim, activation).dbias);
          }
        }
      }
    }
  });
}

TEST_CASE("activation: extreme inputs, in place, no rows", "[activation]") {
  on_every_isa([] {
    const float infinity = std::numeric_limits<float>::infinity();
    for (const Activation activation : kAll) {
      const std::vector<float> x{1e-30F, -1e-30F, 40, -40, 1e20F, 88, -88, 3.9F, -3.9F, 4.1F, 0};
      const auto dim = static_cast<int64_t>(x.size());
      const auto y = forward(fast_forward, x, {}, 1, dim, activation);
      const auto expected =
          forward(reference::bias_activation_fwd<double>, converted<double>(x), {}, 1, dim, activation);
      for (size_t i = 0; i < x.size(); ++i) CHECK(y[i] == Approx(expected[i]).epsilon(1e-5).margin(1e-5));
      std::vector<float> in_place = x;
      bias_activation_fwd(
          kCpu,
          {.x = in_place.data(), .y = in_place.data(), .rows = 1, .dim = dim, .activation = activation});
      CHECK(in_place == y);
      CHECK(forward(fast_forward, {infinity}, {}, 1, 1, activation)[0] == infinity);
      const std::vector<float> nan(3, std::numeric_limits<float>::quiet_NaN());
      for (const float value : forward(fast_forward, nan, {}, 1, 3, activation)) CHECK(std::isnan(value));
      for (const float value : forward(reference::bias_activation_fwd<float>, nan, {}, 1, 3, activation)) {
        CHECK(std::isnan(value));
      }
      // Where the function saw NaN its gradient is NaN too; the identity passes the gradient as it is.
      const auto fast_nan = backward(fast_backward, {1, 1, 1}, nan, {}, 1, 3, activation);
      const auto plain_nan =
          backward(reference::bias_activation_bwd<float>, {1, 1, 1}, nan, {}, 1, 3, activation);
      for (size_t i = 0; i < 3; ++i) {
        CHECK(std::isnan(fast_nan.dx[i]) == (activation != Activation::none));
        CHECK(std::isnan(plain_nan.dx[i]) == (activation != Activation::none));
      }
      CHECK(backward(fast_backward, {}, {}, {}, 0, 37, activation).dbias == std::vector<float>(37, 0.0F));
      CHECK(backward(fast_backward, {}, {}, {}, 4, 0, activation).dx.empty());
    }
  });
}
