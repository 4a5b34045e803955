// The engine: order, sums, ownership of gradients, readiness of leaves, release, errors. Gradients of single
// operations are in test_gradcheck.cpp and test_random_programs.cpp.
#include <atomic>
#include <set>

#include "autograd/attribution.h"
#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tensor/ops.h"
#include "tests/compare.h"
#include "tests/error_message.h"

using namespace clipcap;

namespace {

Variable scalar(double value) { return Variable(Tensor::full({1}, value, DType::f64), true); }

Variable vector_of(std::vector<float> values) {
  const auto count = static_cast<int64_t>(values.size());
  return Variable(Tensor::from(values, {count}), true);
}

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
  CHECK(a.grad().storage() != b.grad().storage());
  diff::add(a, b).backward();
  CHECK(a.grad().item() == 2.0);
  CHECK(b.grad().item() == 2.0);
  diff::scale(a, 5.0).backward();
  CHECK(a.grad().item() == 7.0);
  CHECK(b.grad().item() == 2.0);
}

TEST_CASE("a leaf's gradient is its own: the caller's tensor is not it", "[autograd]") {
  const Variable x = vector_of({1, 2, 3, 4});
  const Tensor g = Tensor::from(std::vector<float>{5, 6, 7, 8}, {2, 2});
  diff::reshape(x, {2, 2}).backward(g);
  g.fill_zero();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{5, 6, 7, 8});

  const Variable leaf = vector_of({1, 2});
  const Tensor own = Tensor::from(std::vector<float>{3, 4}, {2});
  leaf.backward(own);
  own.fill_zero();
  CHECK(leaf.grad().to_vector<float>() == std::vector<float>{3, 4});

  // A gradient that is a part of something larger does not keep that alive.
  const Variable part = vector_of({1, 2});
  const Variable rest = vector_of({1, 2, 3, 4, 5, 6});
  diff::concat({part, rest}, 0).backward(Tensor::from(std::vector<float>(8, 1.0F), {8}));
  CHECK(part.grad().storage()->bytes() == 8);
}

TEST_CASE("backward adds into a leaf's buffer in place, the one assigned beforehand too", "[autograd]") {
  const Variable x = vector_of({1, 2});
  diff::sum(diff::scale(x, 2.0)).backward();
  const std::byte* before = x.grad().raw();
  diff::sum(diff::scale(x, 3.0)).backward();
  CHECK(x.grad().raw() == before);
  CHECK(x.grad().to_vector<float>() == std::vector<float>{5, 5});

  const Tensor flat = Tensor::full({8}, 9.0);
  x.set_grad_buffer(flat.slice(0, 4, 2));  // what is there moves
  CHECK(flat.to_vector<float>() == std::vector<float>{9, 9, 9, 9, 5, 5, 9, 9});
  diff::sum(x).backward();
  x.zero_grad();
  CHECK_FALSE(x.grad().defined());
  diff::sum(diff::scale(x, 4.0)).backward();  // the first arrival overwrites, the second adds
  diff::sum(x).backward();
  CHECK(flat.to_vector<float>() == std::vector<float>{9, 9, 9, 9, 5, 5, 9, 9});
  CHECK(x.grad().raw() == flat.slice(0, 4, 2).raw());
  x.set_grad_buffer(Tensor());
  flat.fill_zero();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{5, 5});

  CHECK(contains(message_of([&] { x.set_grad_buffer(Tensor::zeros({3})); }), "expected f32 [2]"));
  CHECK(contains(message_of([&] { x.set_grad_buffer(Tensor::zeros({2}, DType::f64)); }), "buffer is f64"));
  CHECK(contains(message_of([&] {
                   x.set_grad_buffer(Tensor::zeros({2, 2}).slice(1, 0, 1).reshape({2}));
                 }),
                 "contiguous"));
}

TEST_CASE("a gradient on its way is not added to where another input sees it", "[autograd]") {
  const Variable x = scalar(2.0);
  const Variable z = scalar(3.0);
  const Variable a = diff::scale(x, 1.0);
  const Variable b = diff::scale(z, 1.0);
  const Variable c = diff::scale(a, 2.0);
  // add() hands one tensor to a and b; then c's contribution reaches a, before b is looked at.
  diff::add(c, diff::add(a, b)).backward();
  CHECK(x.grad().item() == 3.0);
  CHECK(z.grad().item() == 1.0);
}

TEST_CASE("what arrives must have the leaf's dtype and shape", "[autograd]") {
  const Variable x = vector_of({1, 2, 3});
  CHECK(contains(message_of([&] { x.backward(Tensor::zeros({3}, DType::f64)); }), "f64 [3]"));
  CHECK(contains(message_of([&] { x.backward(Tensor::zeros({1, 3})); }), "[1, 3]"));
  CHECK_FALSE(x.grad().defined());
  // An operation whose backward is wrong is named.
  const auto wrong = [&](Tensor grad) {
    return make_result("wrong_op", x.value(), {x},
                       [grad](const BackwardArgs&) -> std::vector<Tensor> { return {grad}; });
  };
  const Tensor one = Tensor::full({3}, 1.0);
  CHECK(contains(message_of([&] { wrong(Tensor::zeros({3}, DType::f64)).backward(one); }),
                 "wrong_op gave its input 0"));
  CHECK(contains(message_of([&] { wrong(Tensor::zeros({2})).backward(one); }), "f32 [2]"));
  CHECK(contains(message_of([&] { diff::scale(wrong(Tensor::zeros({4})), 2.0).backward(one); }),
                 "expected f32 [3]"));
  const Variable inner = diff::scale(x, 2.0);
  const Variable bad = make_result(
      "bad_op", inner.value(), {inner},
      [](const BackwardArgs&) -> std::vector<Tensor> { return {Tensor::zeros({3}, DType::f64)}; });
  CHECK(contains(message_of([&] { bad.backward(one); }), "bad_op gave its input 0"));
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("unused outputs and dead branches cost nothing", "[autograd]") {
  const Variable x = scalar(2.0);
  bool entered = false;
  const Variable dead =
      make_result("dead", x.value(), {x}, [&](const BackwardArgs& g) -> std::vector<Tensor> {
        entered = true;
        return {g[0]};
      });
  const std::vector<Variable> two =
      make_results("two", {x.value(), x.value()}, {x}, [&](const BackwardArgs& g) -> std::vector<Tensor> {
        CHECK(g[0].defined());
        CHECK_FALSE(g[1].defined());
        return {g[0]};
      });
  diff::scale(two[0], 3.0).backward();
  CHECK(x.grad().item() == 3.0);
  CHECK_FALSE(entered);
}

TEST_CASE("a backward function is told which gradients are wanted", "[autograd]") {
  const Variable x = scalar(2.0);
  const Variable constant = Variable(Tensor::full({1}, 5.0, DType::f64));
  std::vector<bool> wanted;
  make_result("probe", x.value(), {constant, x, Variable(), diff::scale(x, 1.0)},
              [&](const BackwardArgs& g) -> std::vector<Tensor> {
                for (size_t i = 0; i < 4; ++i) wanted.push_back(g.wants(i));
                return {g[0], g[0], g[0], g[0]};
              })
      .backward();
  CHECK(wanted == std::vector<bool>{false, true, false, true});
  CHECK(x.grad().item() == 2.0);
  CHECK_FALSE(constant.grad().defined());
}

TEST_CASE("NoGrad and detach record nothing", "[autograd]") {
  const Variable x = scalar(2.0);
  {
    const NoGrad guard;
    CHECK_FALSE(diff::mul(x, x).requires_grad());
    { const NoGrad nested; }
    CHECK(NoGrad::active());
    CHECK_FALSE(diff::mul(x, x).requires_grad());
  }
  CHECK(diff::mul(x, x).requires_grad());
  CHECK_FALSE(x.detach().requires_grad());
}

TEST_CASE("backward twice needs keep_graph", "[autograd]") {
  const Variable x = scalar(2.0);
  const Variable y = diff::mul(x, x);
  y.backward({.keep_graph = true});
  y.backward();
  CHECK(x.grad().item() == 8.0);
  CHECK(contains(message_of([&] { y.backward(); }), "released by an earlier backward()"));
  CHECK(contains(message_of([&] { diff::scale(y, 2.0).backward(); }), "the graph behind mul"));
}

TEST_CASE("every leaf is reported once, when its gradient is complete", "[autograd]") {
  const Variable a = vector_of({1, 2});
  const Variable b = vector_of({3, 4});
  const Variable c = vector_of({5, 6});
  const Variable unused = vector_of({7, 8});
  const Variable skipped = vector_of({9, 10});
  // a is used first and last: complete only at the very end. c is used last alone: complete first.
  const Variable early = diff::mul(a, b);
  const Variable middle = diff::add(early, b);
  const Variable blocked = make_result("blocked", skipped.value(), {diff::scale(skipped, 1.0)},
                                       [](const BackwardArgs&) -> std::vector<Tensor> { return {Tensor()}; });
  const Variable last = diff::mul(diff::mul(diff::add(middle, blocked), c), a);
  std::vector<std::pair<const VariableState*, std::vector<float>>> reports;
  BackwardOptions options;
  options.leaf_ready = [&](const Variable& leaf) {
    reports.emplace_back(leaf.state().get(),
                         leaf.grad().defined() ? leaf.grad().to_vector<float>() : std::vector<float>{});
  };
  diff::sum(last).backward(options);
  REQUIRE(reports.size() == 4);
  CHECK(reports[0].first == c.state().get());
  CHECK(reports[1].first == skipped.state().get());
  CHECK(reports[1].second.empty());  // nothing arrived, nothing can any more
  std::set<const VariableState*> seen;
  for (const auto& [leaf, grad] : reports) {
    CHECK(seen.insert(leaf).second);
    for (const Variable& variable : {a, b, c}) {  // what was reported was final
      if (variable.state().get() == leaf) CHECK(grad == variable.grad().to_vector<float>());
    }
  }
  CHECK_FALSE(seen.contains(unused.state().get()));

  // In the order in which a network's layers finish, while the rest still runs.
  std::vector<Variable> weights;
  Variable x = vector_of({1, 1}).detach();
  for (int i = 0; i < 5; ++i) {
    weights.push_back(vector_of({2, 3}));
    x = diff::mul(x, weights.back());
  }
  size_t expected = 5;
  BackwardOptions in_order;
  in_order.leaf_ready = [&](const Variable& leaf) {
    --expected;
    CHECK(leaf.state() == weights[expected].state());
    for (size_t i = 0; i < expected; ++i) CHECK_FALSE(weights[i].grad().defined());
  };
  diff::sum(x).backward(in_order);
  CHECK(expected == 0);

  int count = 0;
  BackwardOptions of_a_leaf;
  of_a_leaf.leaf_ready = [&](const Variable& leaf) { count += leaf.state() == a.state() ? 1 : 100; };
  a.backward(Tensor::full({2}, 1.0), of_a_leaf);
  CHECK(count == 1);
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

TEST_CASE("a graph whose nodes are inputs twice is released without recursion", "[autograd]") {
  const Variable x = scalar(1.0);
  Variable y = x;
  for (int i = 0; i < 200'000; ++i) y = diff::add(y, y);
  y = Variable();
  // Two chains that cross all the way.
  Variable a = x;
  Variable b = x;
  for (int i = 0; i < 100'000; ++i) {
    const Variable sum = diff::add(a, b);
    b = diff::add(b, a);
    a = sum;
  }
  a = Variable();
  b = Variable();
  SUCCEED();
}

TEST_CASE("a value of another dtype drops the old gradient", "[autograd]") {
  const Variable x = vector_of({1, 2});
  diff::sum(x).backward();
  x.set_value(x.value().to(DType::f64));
  CHECK_FALSE(x.grad().defined());
  diff::sum(x).backward();
  CHECK(x.grad().dtype() == DType::f64);
  x.set_grad_buffer(Tensor::zeros({2}, DType::f64));
  CHECK(contains(message_of([&] { x.set_value(Tensor::zeros({2})); }), "the gradient's buffer is f64"));
}

TEST_CASE("backward runs on behalf of the module that recorded the operation", "[autograd]") {
  const Variable x = scalar(2.0);
  const int first = 0;
  const int second = 0;
  std::vector<Attribution> seen;
  const auto probe = [&](const Variable& input, const void* module) {
    const AttributionScope scope({module, false});
    return make_result("probe", input.value(), {input}, [&](const BackwardArgs& g) -> std::vector<Tensor> {
      seen.push_back(current_attribution());
      return {g[0]};
    });
  };
  probe(probe(probe(x, &first), &second), nullptr).backward();
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].module == nullptr);
  CHECK(seen[1].module == &second);
  CHECK(seen[2].module == &first);
  for (const Attribution& attribution : seen) CHECK(attribution.backward);
  CHECK(current_attribution().module == nullptr);
  CHECK_FALSE(current_attribution().backward);
}

TEST_CASE("a gradient check keeps a NaN, whatever follows", "[autograd]") {
  const Variable x(Tensor::full({4}, 0.5, DType::f64), true);
  const std::vector<Variable> inputs{x};
  // Forward is right, backward gives one NaN among right numbers.
  const auto function = [&] {
    return make_result("faulty", ops::affine(x.value(), 1.0), {x},
                       [&](const BackwardArgs& g) -> std::vector<Tensor> {
                         const Tensor dx = g[0].clone();
                         dx.data<double>()[1] = std::numeric_limits<double>::quiet_NaN();
                         return {dx};
                       });
  };
  const GradcheckResult result = gradcheck(function, inputs);
  CHECK(std::isnan(result.worst));
  CHECK(contains(result.place, "element 1"));
  CHECK(result.elements == 4);
}
