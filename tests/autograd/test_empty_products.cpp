// Products with an empty dimension: gradients of the right shape, all zero where nothing was summed.
#include <vector>

#include "autograd/ops.h"
#include "tests/catch.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

Variable leaf(const Shape& shape, uint64_t seed) {
  const auto values = random_values<float>(shape.numel(), seed);
  return Variable(Tensor::from(values, shape), true);
}

void check_zero_gradient(const Variable& x) {
  REQUIRE(x.grad().defined());
  CHECK(x.grad().shape() == x.shape());
  const Tensor grad = x.grad().contiguous();
  for (int64_t i = 0; i < grad.numel(); ++i) CHECK(grad.data<float>()[i] == 0.0F);
}

}  // namespace

TEST_CASE("matmul: gradients with K = 0, N = 0, M = 0 and no batch", "[empty_products]") {
  for (const int64_t batch : {-1, 0, 2}) {  // -1: matrices without a leading dimension
    for (const bool shared : {false, true}) {
      for (const int64_t empty : {0, 1, 2, 3}) {  // which of M, K, N is empty; 3: none
        const int64_t m = empty == 0 ? 0 : 3;
        const int64_t k = empty == 1 ? 0 : 4;
        const int64_t n = empty == 2 ? 0 : 5;
        if (empty == 3 && batch != 0) continue;  // nothing is empty
        INFO("batch " << batch << " shared " << shared << " M " << m << " K " << k << " N " << n);
        const Variable a = leaf(batch < 0 ? Shape{m, k} : Shape{batch, m, k}, 1);
        const Variable b = leaf(batch < 0 || shared ? Shape{k, n} : Shape{batch, k, n}, 2);
        const Variable y = diff::matmul(a, b);
        CHECK(y.shape() == (batch < 0 ? Shape{m, n} : Shape{batch, m, n}));
        for (int64_t i = 0; i < y.value().numel(); ++i) CHECK(y.value().data<float>()[i] == 0.0F);
        diff::sum(y).backward();
        check_zero_gradient(a);
        check_zero_gradient(b);
      }
    }
  }
}

TEST_CASE("linear: gradients with K = 0, N = 0 and no rows", "[empty_products]") {
  for (const bool with_bias : {false, true}) {
    for (const int64_t empty : {0, 1, 2}) {
      const int64_t rows = empty == 0 ? 0 : 3;
      const int64_t k = empty == 1 ? 0 : 4;
      const int64_t n = empty == 2 ? 0 : 5;
      INFO("bias " << with_bias << " rows " << rows << " K " << k << " N " << n);
      const Variable x = leaf({rows, 2, k}, 1);
      const Variable w = leaf({n, k}, 2);
      const Variable bias = with_bias ? leaf({n}, 3) : Variable();
      const Variable y = diff::linear(x, w, bias);
      CHECK(y.shape() == Shape{rows, 2, n});
      for (int64_t i = 0; i < y.value().numel(); ++i) {
        CHECK(y.value().data<float>()[i] == (with_bias ? bias.value().data<float>()[i % n] : 0.0F));
      }
      diff::sum(y).backward();
      check_zero_gradient(x);
      check_zero_gradient(w);
      if (with_bias) {
        CHECK(bias.grad().shape() == Shape{n});
        for (int64_t i = 0; i < n; ++i) {
          CHECK(bias.grad().data<float>()[i] == static_cast<float>(rows == 0 ? 0 : 2 * rows));
        }
      }
    }
  }
}
