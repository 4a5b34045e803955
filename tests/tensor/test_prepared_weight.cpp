// The epilogue of products, and weights prepared once for many of them.
#include "tensor/kernels/prepared_weight.h"

#include <thread>

#include "nn/linear.h"
#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/matmul.h"
#include "tensor/ops.h"
#include "tensor/parallel.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

constexpr Activation kAll[] = {Activation::none, Activation::relu, Activation::gelu, Activation::quick_gelu,
                               Activation::gelu_tanh};

std::shared_ptr<const PreparedWeight> prepared(const std::vector<float>& w, int64_t n, int64_t k) {
  std::shared_ptr<const PreparedWeight> result;
  prepare_matmul(kCpu, {.b = w.data(), .n = n, .k = k, .prepared = &result});
  return result;
}

// One linear layer's call, in T.
template <class T>
struct Layer {
  int64_t rows, n, k;
  std::vector<T> x, w, bias, residual, y;
  Activation activation;
  const PreparedWeight* weight = nullptr;

  Layer(int64_t m, int64_t out, int64_t in, Activation f, bool with_bias, bool with_residual)
      : rows(m),
        n(out),
        k(in),
        x(random_values<T>(m * in, 3)),
        w(random_values<T>(out * in, 1, 0.02, 0.2)),
        bias(random_values<T>(with_bias ? out : 0, 2)),
        residual(random_values<T>(with_residual ? m * out : 0, 4)),
        y(static_cast<size_t>(m * out), std::numeric_limits<T>::quiet_NaN()),
        activation(f) {}
  Matmul<T> params() {
    return {.a = x.data(),
            .b = weight == nullptr ? w.data() : nullptr,
            .bias = bias.empty() ? nullptr : bias.data(),
            .residual = residual.empty() ? nullptr : residual.data(),
            .c = y.data(),
            .m = rows,
            .n = n,
            .k = k,
            .b_transposed = true,
            .activation = activation,
            .prepared = weight};
  }
};

void check_shape(int64_t n, int64_t k, Activation activation, bool with_bias, bool with_residual,
                 std::initializer_list<int64_t> row_counts) {
  std::shared_ptr<const PreparedWeight> weight;
  {
    const Layer<float> first(1, n, k, activation, with_bias, with_residual);
    weight = prepared(first.w, n, k);  // and the source is gone before the first product
  }
  CHECK(weight->bytes() >= static_cast<size_t>(n * k) * sizeof(float));
  for (const int64_t rows : row_counts) {
    Layer<float> plain(rows, n, k, activation, with_bias, with_residual);
    Layer<double> oracle(rows, n, k, activation, with_bias, with_residual);
    reference::matmul(plain.params());
    reference::matmul(oracle.params());
    for (const bool is_prepared : {false, true}) {
      INFO("rows " << rows << " n " << n << " k " << k << " activation " << static_cast<int>(activation)
                   << " bias " << with_bias << " residual " << with_residual << " prepared " << is_prepared);
      Layer<float> got(rows, n, k, activation, with_bias, with_residual);
      if (is_prepared) got.weight = weight.get();
      matmul(kCpu, got.params());
      check_against_oracle(got.y, plain.y, oracle.y);
      if (!with_residual) continue;
      Layer<float> in_place(rows, n, k, activation, with_bias, with_residual);
      if (is_prepared) in_place.weight = weight.get();
      Matmul<float> p = in_place.params();
      p.c = in_place.residual.data();
      matmul(kCpu, p);
      CHECK(in_place.residual == got.y);
    }
  }
}

}  // namespace

TEST_CASE("epilogue: by hand", "[prepared_weight]") {
  const std::vector<float> w{1, 2, 3, 4, 5, 6};  // [2,3]
  const std::vector<float> bias{-20, 1};
  const std::vector<float> x{1, 1, 1, 2, 0, -1};
  const std::vector<float> residual{100, 200, 300, 400};
  const auto weight = prepared(w, 2, 3);
  // relu(-14), relu(16), relu(-21), relu(3)
  const std::vector<float> expected{100, 216, 300, 403};
  for (const bool is_prepared : {false, true}) {
    std::vector<float> y(4);
    Matmul<float> p{.a = x.data(),
                    .b = is_prepared ? nullptr : w.data(),
                    .bias = bias.data(),
                    .residual = residual.data(),
                    .c = y.data(),
                    .m = 2,
                    .n = 2,
                    .k = 3,
                    .b_transposed = true,
                    .activation = Activation::relu,
                    .prepared = is_prepared ? weight.get() : nullptr};
    matmul(kCpu, p);
    CHECK(y == expected);
    if (is_prepared) continue;
    y.assign(4, 0);
    reference::matmul(p);
    CHECK(y == expected);
  }
}

TEST_CASE("epilogue: against the double oracle, prepared and not", "[prepared_weight]") {
  for (const Activation activation : kAll) {
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
  for (const Activation activation : kAll) check_shape(140, 150, activation, true, true, {16, 200});
}

TEST_CASE("epilogue: a batch, with gaps between its matrices, and K = 0", "[prepared_weight]") {
  for (const Activation activation : kAll) {
    for (const bool in_place : {false, true}) {
      for (const int64_t k : {0, 1, 40}) {
        for (const bool shared : {false, true}) {
          INFO("activation " << static_cast<int>(activation) << " in place " << in_place << " K " << k
                             << " shared b " << shared);
          const int64_t batch = 3;
          const int64_t m = 5;
          const int64_t n = 19;
          const int64_t stride = m * n + 7;
          const auto a = random_values<float>(batch * m * k, 1);
          const auto b = random_values<float>((shared ? 1 : batch) * k * n, 2);
          const auto bias = random_values<float>(n, 3);
          const auto residual = random_values<float>(batch * stride, 4);
          const auto run = [&](auto kernel, auto tag) {
            using T = decltype(tag);
            const auto own_a = converted<T>(a);
            const auto own_b = converted<T>(b);
            const auto own_bias = converted<T>(bias);
            const auto own_residual = converted<T>(residual);
            std::vector<T> c = in_place ? own_residual : std::vector<T>(own_residual.size(), T{7});
            Matmul<T> p{.a = own_a.data(),
                        .b = own_b.data(),
                        .bias = own_bias.data(),
                        .residual = in_place ? c.data() : own_residual.data(),
                        .c = c.data(),
                        .batch = batch,
                        .m = m,
                        .n = n,
                        .k = k,
                        .a_batch_stride = m * k,
                        .b_batch_stride = shared ? 0 : k * n,
                        .c_batch_stride = stride,
                        .activation = activation};
            kernel(p);
            return c;
          };
          const auto got = run([](const Matmul<float>& p) { matmul(kCpu, p); }, float{});
          check_against_oracle(got, run(reference::matmul<float>, float{}),
                               run(reference::matmul<double>, double{}));
        }
      }
    }
  }
}

TEST_CASE("prepared weight: more row counts than it keeps, and repeated calls give the same bits",
          "[prepared_weight]") {
  Layer<float> first(3, 48, 40, Activation::gelu, false, false);
  const auto weight = prepared(first.w, 48, 40);
  first.weight = weight.get();
  matmul(kCpu, first.params());
  const std::vector<float> before = first.y;
  for (int64_t rows = 1; rows <= 40; ++rows) {
    Layer<float> other(rows, 48, 40, Activation::gelu, false, false);
    Layer<double> oracle(rows, 48, 40, Activation::gelu, false, false);
    other.weight = weight.get();
    matmul(kCpu, other.params());
    reference::matmul(oracle.params());
    CHECK(max_error(other.y, oracle.y) < 1e-4);
  }
  matmul(kCpu, first.params());
  CHECK(first.y == before);
}

TEST_CASE("prepared weight: one for every epilogue, and for several threads at once", "[prepared_weight]") {
  Layer<float> source(6, 32, 24, Activation::none, true, true);
  const auto weight = prepared(source.w, 32, 24);
  std::vector<Layer<float>> layers;
  for (const Activation activation : kAll) {
    for (const bool bias : {false, true}) {
      for (const bool residual : {false, true}) layers.emplace_back(6, 32, 24, activation, bias, residual);
    }
  }
  for (Layer<float>& layer : layers) layer.weight = weight.get();
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < layers.size(); i += 4) matmul(kCpu, layers[i].params());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Layer<float>& layer : layers) {
    Layer<double> oracle(6, 32, 24, layer.activation, !layer.bias.empty(), !layer.residual.empty());
    reference::matmul(oracle.params());
    CHECK(max_error(layer.y, oracle.y) < 1e-5);
  }
}

TEST_CASE("prepared weight: no rows; a NaN passes every activation", "[prepared_weight]") {
  for (const Activation activation : kAll) {
    for (const bool with_residual : {false, true}) {
      for (const bool is_prepared : {false, true}) {
        INFO("activation " << static_cast<int>(activation) << " residual " << with_residual << " prepared "
                           << is_prepared);
        Layer<float> layer(5, 40, 24, activation, true, with_residual);
        const auto weight = prepared(layer.w, 40, 24);
        if (is_prepared) layer.weight = weight.get();
        layer.x[2 * 24 + 3] = std::numeric_limits<float>::quiet_NaN();
        matmul(kCpu, layer.params());
        for (size_t i = 0; i < layer.y.size(); ++i) CHECK(std::isnan(layer.y[i]) == (i / 40 == 2));
        Matmul<float> none = layer.params();
        none.m = 0;
        none.a = none.residual = none.c = nullptr;
        matmul(kCpu, none);
      }
    }
  }
}

TEST_CASE("prepared weight: one that was made for something else is refused", "[prepared_weight]") {
  Layer<float> layer(2, 4, 3, Activation::none, false, false);
  const auto weight = prepared(layer.w, 4, 3);
  layer.weight = weight.get();
  const auto refused = [](Matmul<float> p, auto change) {
    change(p);
    CHECK_THROWS_AS(matmul(kCpu, p), Error);
  };
  refused(layer.params(), [](Matmul<float>& p) { p.n = 3; });
  refused(layer.params(), [](Matmul<float>& p) { p.k = 2; });
  refused(layer.params(), [](Matmul<float>& p) { p.batch = 2; });
  refused(layer.params(), [](Matmul<float>& p) { p.a_transposed = true; });
  CHECK_THROWS_AS(reference::matmul(layer.params()), Error);  // the reference has its own kind
  CHECK_THROWS_AS(prepared({}, 0, 3), Error);
  CHECK_THROWS_AS(prepared({}, 3, 0), Error);
  // The reference's own kind, for every T, and only for the reference.
  std::shared_ptr<const PreparedWeight> plain;
  reference::prepare_matmul<float>({.b = layer.w.data(), .n = 4, .k = 3, .prepared = &plain});
  CHECK(plain->bytes() == 48);
  layer.weight = plain.get();
  CHECK_THROWS_AS(matmul(kCpu, layer.params()), Error);
  reference::matmul(layer.params());
  const std::vector<float> y = layer.y;
  layer.weight = nullptr;
  reference::matmul(layer.params());
  CHECK(layer.y == y);
  // A convolution's weight is none for products.
  std::shared_ptr<const PreparedWeight> convolution;
  prepare_conv2d(kCpu, {.weight = layer.w.data(),
                        .geometry = {.in_channels = 3, .out_channels = 4},
                        .prepared = &convolution});
  layer.weight = convolution.get();
  CHECK_THROWS_AS(matmul(kCpu, layer.params()), Error);
}

TEST_CASE("prepared weight: linear layers of tensors, in every dtype", "[prepared_weight]") {
  const auto w = random_values<float>(6 * 5, 1);
  const auto x = random_values<float>(2 * 3 * 5, 2);
  const auto bias = random_values<float>(6, 3);
  const auto residual = random_values<float>(2 * 3 * 6, 4);
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    INFO("dtype " << dtype);
    const auto tensor = [&](const std::vector<float>& values, const Shape& shape) {
      return Tensor::from(values, shape).to(dtype);
    };
    const ops::PreparedLinear weight = ops::prepare_linear(tensor(w, {6, 5}));
    const Tensor y = ops::linear(
        tensor(x, {2, 3, 5}), weight,
        {.bias = tensor(bias, {6}), .activation = Activation::gelu, .residual = tensor(residual, {2, 3, 6})});
    CHECK(y.shape() == Shape{2, 3, 6});
    CHECK(y.dtype() == dtype);
    const Tensor plain = y.to(DType::f32).contiguous();
    const auto rounded = [&](const std::vector<float>& values, size_t i) {
      return dtype == DType::bf16 ? static_cast<double>(static_cast<float>(bfloat16(values[i])))
                                  : static_cast<double>(values[i]);
    };
    for (size_t row = 0; row < 6; ++row) {
      for (size_t j = 0; j < 6; ++j) {
        double total = rounded(bias, j);
        for (size_t i = 0; i < 5; ++i) total += rounded(x, row * 5 + i) * rounded(w, j * 5 + i);
        const double expected = reference::activate(total, Activation::gelu) + rounded(residual, row * 6 + j);
        const double tolerance = dtype == DType::bf16 ? 0.02 : 1e-5;
        CHECK(plain.data<float>()[row * 6 + j] == Approx(expected).epsilon(tolerance).margin(tolerance));
      }
    }
    CHECK(ops::linear(tensor({}, {0, 5}), weight, {}).shape() == Shape{0, 6});
    CHECK_THROWS_AS(ops::linear(tensor(w, {5, 6}), weight, {}), Error);
    CHECK_THROWS_AS(ops::linear(tensor(x, {6, 5}), weight, {.bias = tensor(x, {30})}), Error);
    CHECK_THROWS_AS(ops::linear(tensor(x, {6, 5}), weight, {.residual = tensor(bias, {1, 6})}), Error);
    const DType other = dtype == DType::f32 ? DType::f64 : DType::f32;
    CHECK_THROWS_AS(ops::linear(tensor(x, {6, 5}).to(other), weight, {}), Error);
  }
}

TEST_CASE("prepared weight: the layer refuses a residual of another shape, packed or not",
          "[prepared_weight]") {
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
