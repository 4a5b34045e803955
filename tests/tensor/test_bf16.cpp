// The host's bf16 slots against double on the same (bf16-rounded) numbers, forward and backward: data is bf16,
// sums and statistics are float. Long sums show whether they are: a running total in bf16 stands still at 256.
#include <cmath>

#include "autograd/ops.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/pool2d.h"
#include "tensor/ops.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

// Rounding the result to bf16 costs 2^-9 of it; what backward reads has been rounded too.
constexpr double kBound = 1.0 / 96;
// Gradients of attention are differences of what has been rounded.
constexpr double kLooseBound = 1.0 / 32;

Tensor rounded(const Shape& shape, uint64_t seed, double mean = 0.2) {
  return Tensor::from(random_values<float>(shape.numel(), seed, mean), shape).to(DType::bf16);
}

void check_close(const Tensor& got, const Tensor& oracle, double bound = kBound) {
  REQUIRE(got.shape() == oracle.shape());
  double largest = 0;
  for (const double value : oracle.to_vector<double>()) largest = std::max(largest, std::abs(value));
  CHECK(max_error(got.to(DType::f64).to_vector<double>(), oracle.to_vector<double>()) <= bound * largest);
}

// Runs `function` on bf16 inputs and on the same numbers in double, and compares results and gradients. `kept`: which
// inputs have the dtype of statistics (an LSTM's cell).
template <class Function>
void check_op(const std::vector<Tensor>& inputs, Function function, const std::vector<size_t>& kept = {},
              double gradient_bound = kBound) {
  std::vector<Variable> narrow;
  std::vector<Variable> wide;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool statistic = std::find(kept.begin(), kept.end(), i) != kept.end();
    narrow.emplace_back(statistic ? inputs[i].to(DType::f32) : inputs[i].clone(), true);
    wide.emplace_back(inputs[i].to(DType::f64), true);
  }
  const Variable got = function(narrow);
  const Variable oracle = function(wide);
  check_close(got.value(), oracle.value());
  const Tensor weights = rounded(oracle.shape(), 99);
  oracle.backward(weights.to(DType::f64));
  got.backward(weights.to(got.dtype()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input " << i);
    CHECK(narrow[i].grad().dtype() == narrow[i].dtype());
    check_close(narrow[i].grad(), wide[i].grad(), gradient_bound);
  }
}

}  // namespace

TEST_CASE("bf16: rows", "[bf16]") {
  check_op({rounded({5, 300}, 1), rounded({300}, 2, 1.0), rounded({300}, 3)},
           [](const auto& v) { return diff::layer_norm(v[0], v[1], v[2], 1e-5); });
  for (const Activation activation :
       {Activation::relu, Activation::gelu, Activation::quick_gelu, Activation::gelu_tanh}) {
    check_op({rounded({400, 7}, 4), rounded({7}, 5)},
             [&](const auto& v) { return diff::bias_activation(v[0], v[1], activation); });
  }
  check_op({rounded({33, 9}, 6)}, [](const auto& v) {
    Generator generator(5);
    return diff::dropout(v[0], 0.4, generator);
  });
  check_op({rounded({6, 300}, 6)}, [](const auto& v) { return diff::l2_normalize(v[0]); });
  check_op({rounded({40, 30}, 6), rounded({1}, 7)},
           [](const auto& v) { return diff::scale_exp(v[0], v[1]); });
  const Tensor ids = Tensor::from(std::vector<int32_t>(600, 1), {600});
  check_op({rounded({3, 5}, 7)}, [&](const auto& v) { return diff::embedding(ids, v[0]); });
}

TEST_CASE("bf16: sums and products", "[bf16]") {
  check_op({rounded({4, 1, 6}, 8), rounded({3, 1}, 9, 1.5)},
           [](const auto& v) { return diff::mul(v[0], v[1]); });
  check_op({rounded({3000}, 10, 1.0)}, [](const auto& v) { return diff::sum(v[0]); });
  check_op({rounded({2, 3, 1500}, 11, 1.0), rounded({1500, 4}, 12, 1.0)},
           [](const auto& v) { return diff::matmul(v[0], v[1]); });
  check_op({rounded({7, 900}, 13, 1.0), rounded({5, 900}, 14, 1.0), rounded({5}, 15)},
           [](const auto& v) { return diff::linear(v[0], v[1], v[2]); });
  const Tensor x = rounded({4, 700}, 16);
  check_close(ops::softmax(x, true), ops::softmax(x.to(DType::f64), true));
}

TEST_CASE("bf16: attention and LSTM", "[bf16]") {
  check_op(
      {rounded({2, 5, 3, 8}, 17), rounded({2, 400, 3, 8}, 18), rounded({2, 400, 3, 8}, 19, 1.0)},
      [](const auto& v) { return diff::attention(v[0], v[1], v[2], {}); }, {}, kLooseBound);
  check_op(
      {rounded({2, 6, 12}, 20), rounded({12, 3}, 21), rounded({2, 3}, 22), rounded({2, 3}, 23)},
      [](const auto& v) {
        const Tensor lengths = Tensor::from(std::vector<int32_t>{6, 4}, {2});
        return diff::lstm(v[0], v[1], v[2], v[3], lengths, true).h;
      },
      {3}, kLooseBound);
}

TEST_CASE("bf16: losses are float", "[bf16]") {
  const Tensor targets = Tensor::from(std::vector<int32_t>{2, 0, -1, 399}, {4});
  check_op({rounded({4, 400}, 24)},
           [&](const auto& v) { return diff::cross_entropy(v[0], targets, -1, 0.1); });
  const Tensor student = rounded({2, 3, 500}, 25);
  const Tensor teacher = rounded({2, 500}, 26);
  check_op({student}, [&](const auto& v) { return diff::l1_distill(v[0], teacher.to(v[0].dtype()), {}); });
  CHECK(diff::l1_distill(Variable(student), teacher, {}).dtype() == DType::f32);
  CHECK(diff::cross_entropy(Variable(rounded({4, 400}, 24)), targets, -1, 0.1).dtype() == DType::f32);
}

TEST_CASE("bf16: AdamW keeps its moments in float", "[bf16]") {
  // A gradient of 1/1000 adds less to a second moment than bf16 resolves.
  std::vector<bfloat16> param{bfloat16(1.0F)};
  const std::vector<bfloat16> grad{bfloat16(0.001F)};
  float m = 0;
  float v = 0.5F;
  const AdamwTensor<bfloat16> tensor{.param = param.data(),
                                     .grad = grad.data(),
                                     .m = &m,
                                     .v = &v,
                                     .numel = 1,
                                     .weight_decay = 0,
                                     .lr_scale = 1};
  for (int64_t t = 1; t <= 10; ++t) {
    adamw(kCpu, AdamwStep<bfloat16>{.tensors = &tensor,
                                    .count = 1,
                                    .lr = 0.5,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-8,
                                    .step = t,
                                    .grad_scale = 1});
  }
  CHECK(v == Approx(0.5 * std::pow(0.999, 10)).epsilon(1e-4));
  CHECK(m == Approx(0.001 * (1 - std::pow(0.9, 10))).epsilon(0.01));
}

TEST_CASE("bf16: pictures", "[bf16]") {
  const Tensor x = rounded({1, 6, 5, 40}, 27);
  const Tensor weight = rounded({3, 40, 3, 3}, 28);
  const Conv2dGeometry geometry{
      .in_channels = 40, .out_channels = 3, .kernel_h = 3, .kernel_w = 3, .padding = 1};
  const auto convolved = [&](auto tag, const Tensor& in, const Tensor& w) {
    using T = decltype(tag);
    const Tensor y = Tensor::empty({1, 6, 5, 3}, dtype_of<T>);
    Conv2dFwd<T> p{};
    p.x = in.data<T>();
    p.weight = w.data<T>();
    p.y = y.data<T>();
    p.n = 1;
    p.h = 6;
    p.w = 5;
    p.geometry = geometry;
    conv2d_fwd(kCpu, p);
    return y;
  };
  check_close(convolved(bfloat16{}, x, weight), convolved(double{}, x.to(DType::f64), weight.to(DType::f64)));
  const auto pooled = [&](auto tag, const Tensor& in) {
    using T = decltype(tag);
    const Tensor y = Tensor::empty({1, 40}, dtype_of<T>);
    MeanPool2d<T> p{};
    p.x = in.data<T>();
    p.y = y.data<T>();
    p.n = 1;
    p.h = 6;
    p.w = 5;
    p.c = 40;
    mean_pool2d(kCpu, p);
    return y;
  };
  check_close(pooled(bfloat16{}, x), pooled(double{}, x.to(DType::f64)));
}
