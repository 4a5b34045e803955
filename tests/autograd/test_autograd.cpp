// The engine: order, sums, sharing, release. Gradients of single ops are in test_gradcheck.cpp.
#include "autograd/ops.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {
Variable scalar(double value) { return Variable(Tensor::full({1}, value, DType::f64), true); }
}  // namespace

TEST_CASE("a diamond adds both paths", "[autograd]") {
  const Variable x = scalar(3.0);
  const Variable square = diff::mul(x, x);
  const Variable y = diff::add(diff::scale(square, 2.0), diff::mul(square, x));  // 2x^2 + x^3
  y.backward();
  CHECK(x.grad().item() == Approx(4 * 3.0 + 3 * 9.0));
}

TEST_CASE("gradients accumulate over backward calls and are not shared", "[autograd]") {
  const Variable a = scalar(1.0);
  const Variable b = scalar(2.0);
  diff::add(a, b).backward();
  diff::add(a, b).backward();
  CHECK(a.grad().item() == 2.0);
  CHECK(b.grad().item() == 2.0);
  diff::scale(a, 5.0).backward();
  CHECK(a.grad().item() == 7.0);
  CHECK(b.grad().item() == 2.0);  // add() gave both the same tensor: adding in place would have changed b's
}

TEST_CASE("unused outputs and dead branches cost nothing", "[autograd]") {
  const Variable x = scalar(2.0);
  const Variable dead = diff::mul(x, x);
  const Variable y = diff::scale(x, 3.0);
  y.backward();
  CHECK(x.grad().item() == 3.0);
  (void)dead;
}

TEST_CASE("NoGrad and detach record nothing", "[autograd]") {
  const Variable x = scalar(2.0);
  {
    const NoGrad guard;
    CHECK_FALSE(diff::mul(x, x).requires_grad());
  }
  CHECK(diff::mul(x, x).requires_grad());
  CHECK_FALSE(x.detach().requires_grad());
}

TEST_CASE("backward twice needs keep_graph", "[autograd]") {
  const Variable x = scalar(2.0);
  const Variable y = diff::mul(x, x);
  y.backward(true);
  y.backward();
  CHECK(x.grad().item() == 8.0);
  CHECK_THROWS_AS(y.backward(), Error);
}

TEST_CASE("a graph of a million nodes is walked and released without recursion", "[autograd]") {
  const Variable x = scalar(1.0);
  Variable y = x;
  for (int i = 0; i < 1'000'000; ++i) y = diff::reshape(y, {1});
  y.backward();
  CHECK(x.grad().item() == 1.0);
  y = Variable();  // and once more without backward()
  Variable z = x;
  for (int i = 0; i < 1'000'000; ++i) z = diff::reshape(z, {1});
  z = Variable();
  SUCCEED();
}
