// Rows of length one: by hand, against a plain computation in double, gradients, rows that cannot be normalised.
#include "tensor/kernels/l2_normalize.h"

#include <array>
#include <cmath>
#include <limits>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace clipcap {
namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(shape.numel(), seed), shape);
}

std::vector<double> numbers(const Tensor& x) {
  const Tensor values = x.to(DType::f64).contiguous();
  return {values.data<double>(), values.data<double>() + values.numel()};
}

testing::Deviation error_between(const Tensor& a, const Tensor& b) {
  return testing::max_error(numbers(a), numbers(b));
}

Variable parameter(const Tensor& value) { return Variable(value, true); }

Tensor plain(const Tensor& x) {
  const Tensor source = x.to(DType::f64).contiguous();
  const int64_t dim = source.dim(-1);
  Tensor y = Tensor::empty(source.shape(), DType::f64);
  for (int64_t row = 0; row < source.numel() / std::max<int64_t>(dim, 1); ++row) {
    double squares = 0;
    for (int64_t d = 0; d < dim; ++d) squares += std::pow(source.data<double>()[row * dim + d], 2);
    for (int64_t d = 0; d < dim; ++d)
      y.data<double>()[row * dim + d] = source.data<double>()[row * dim + d] / std::sqrt(squares);
  }
  return y;
}

}  // namespace

TEST_CASE("l2_normalize: by hand", "[l2_normalize]") {
  const Tensor y =
      diff::l2_normalize(Variable(Tensor::from(std::vector<float>{3, 4, 0, -2}, {2, 2}))).value();
  const float* v = y.data<float>();
  CHECK(v[0] == Approx(0.6));
  CHECK(v[1] == Approx(0.8));
  CHECK(v[2] == Approx(0).margin(1e-12));
  CHECK(v[3] == Approx(-1));
}

TEST_CASE("l2_normalize: against a plain computation, any shape", "[l2_normalize]") {
  for (const Shape& shape :
       {Shape{1, 1}, Shape{7}, Shape{3, 5}, Shape{2, 3, 17}, Shape{200, 33}, Shape{0, 4}}) {
    const Tensor x = random(shape, 3);
    CHECK(error_between(diff::l2_normalize(Variable(x)).value(), plain(x)) < 1e-6);
  }
  CHECK(diff::l2_normalize(Variable(Tensor::empty({3, 0}))).value().numel() == 0);
  const Tensor wide = random({6, 4}, 4).transpose(0, 1);  // not contiguous
  CHECK(error_between(diff::l2_normalize(Variable(wide)).value(), plain(wide)) < 1e-6);
}

TEST_CASE("l2_normalize: gradients", "[l2_normalize]") {
  const Variable x = parameter(random({3, 5}, 5).to(DType::f64));
  const auto weighted = [&] {
    return diff::sum(diff::mul(diff::l2_normalize(x), Variable(random({3, 5}, 6).to(DType::f64))));
  };
  CHECK(gradcheck(weighted, std::array{x}).worst < 1e-7);
  // f32 as the oracle in f64.
  const auto gradient = [&](DType dtype) {
    const Variable leaf = parameter(x.value().to(dtype));
    diff::sum(diff::mul(diff::l2_normalize(leaf), Variable(random({3, 5}, 6).to(dtype)))).backward();
    return leaf.grad();
  };
  CHECK(error_between(gradient(DType::f32), gradient(DType::f64)) < 1e-6);
}

TEST_CASE("l2_normalize: rows of nothing, NaN and infinity", "[l2_normalize]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Variable x = parameter(Tensor::from(std::vector<float>{0, 0, nan, 1, 1e-30F, 0, 3, 4}, {4, 2}));
  const Variable y = diff::l2_normalize(x);
  const float* v = y.value().data<float>();
  CHECK(v[0] == 0);
  CHECK(v[1] == 0);
  CHECK(std::isnan(v[2]));
  CHECK(std::isnan(v[3]));
  CHECK(v[4] == Approx(1e-18));
  CHECK(v[6] == Approx(0.6));  // a bad row does not touch the others
  diff::sum(diff::slice(y, 0, 0, 1)).backward();
  CHECK(x.grad().data<float>()[0] == Approx(1e12));
  CHECK(x.grad().data<float>()[6] == 0);
}

TEST_CASE("scale_exp: a factor that is learned by its logarithm", "[l2_normalize]") {
  const Variable x = parameter(random({3, 4}, 7).to(DType::f64));
  const Variable log_factor = parameter(Tensor::full({1}, 0.7, DType::f64));
  const Tensor y = diff::scale_exp(x, log_factor).value();
  for (int64_t i = 0; i < 12; ++i)
    CHECK(y.data<double>()[i] == Approx(x.value().data<double>()[i] * std::exp(0.7)));
  const auto weighted = [&] {
    return diff::sum(diff::mul(diff::scale_exp(x, log_factor), Variable(random({3, 4}, 8).to(DType::f64))));
  };
  CHECK(gradcheck(weighted, std::array{x, log_factor}).worst < 1e-7);
  CHECK_THROWS_AS(diff::scale_exp(x, x), Error);
}

}  // namespace clipcap
