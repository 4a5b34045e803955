// What operations keep for backward(), and what they compute there: only what the wanted gradients need.
#include <map>

#include "autograd/ops.h"
#include "tensor/op.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(shape.numel(), seed), shape);
}
Variable parameter(const Shape& shape, uint64_t seed) { return Variable(random(shape, seed), true); }
Variable constant(const Shape& shape, uint64_t seed) { return Variable(random(shape, seed)); }

// Whether an activation's numbers stay in memory once only the result of `operation` on it is held.
bool keeps(const Shape& shape, const std::function<Variable(const Variable&)>& operation) {
  const Variable leaf = parameter(shape, 1);
  Variable activation = diff::scale(leaf, 1.0);
  const std::weak_ptr<Storage> memory = activation.value().storage();
  const Variable result = operation(activation);
  activation = Variable();
  return !memory.expired();
}

// How often every op ran during `action`.
std::map<std::string, int> calls;
std::map<std::string, int> count_ops(const std::function<void()>& action) {
  calls.clear();
  op_hook = [](const OpCall& call, bool begin) { calls[call.op] += begin ? 1 : 0; };
  action();
  op_hook = nullptr;
  return calls;
}

}  // namespace

TEST_CASE("a frozen weight does not keep its input, a constant input not the weight", "[saved_tensors]") {
  CHECK_FALSE(keeps({4, 3}, [](const Variable& x) {
    return diff::linear(x, constant({5, 3}, 2), parameter({5}, 3));
  }));
  CHECK(keeps({4, 3}, [](const Variable& x) { return diff::linear(x, parameter({5, 3}, 2), {}); }));
  CHECK_FALSE(keeps({4, 3}, [](const Variable& x) { return diff::matmul(x, constant({3, 5}, 2)); }));
  CHECK(keeps({4, 3}, [](const Variable& x) { return diff::matmul(x, parameter({3, 5}, 2)); }));
  CHECK_FALSE(keeps({5, 3}, [](const Variable& w) { return diff::linear(constant({4, 3}, 2), w, {}); }));
  CHECK_FALSE(keeps({3, 5}, [](const Variable& w) { return diff::matmul(constant({4, 3}, 2), w); }));
  CHECK_FALSE(keeps({4, 3}, [](const Variable& x) { return diff::mul(x, constant({3}, 2)); }));
  CHECK(keeps({4, 3}, [](const Variable& x) { return diff::mul(x, parameter({3}, 2)); }));
}

TEST_CASE("operations that need none of their numbers keep none", "[saved_tensors]") {
  const Shape s{4, 6};
  CHECK_FALSE(keeps(s, [](const Variable& x) { return diff::add(x, parameter({6}, 2)); }));
  CHECK_FALSE(keeps(s, [](const Variable& x) { return diff::sub(x, parameter({6}, 2)); }));
  CHECK_FALSE(keeps(s, [](const Variable& x) { return diff::scale(x, 2.0); }));
  CHECK_FALSE(keeps(s, [](const Variable& x) { return diff::mean(x); }));
  CHECK_FALSE(keeps(s, [](const Variable& x) { return diff::concat({x, x}, 0); }));
  CHECK_FALSE(keeps({1, 6}, [](const Variable& x) { return diff::expand(x, {3, 6}); }));
  CHECK_FALSE(keeps(s, [](const Variable& x) {
    Generator generator(1);
    return diff::dropout(x, 0.5, generator);
  }));
  CHECK_FALSE(keeps(s, [](const Variable& table) {
    return diff::embedding(Tensor::from(std::vector<int32_t>{1, 3}, {2}), table);
  }));
  CHECK_FALSE(keeps(s, [](const Variable& x) {
    return diff::cross_entropy(x, Tensor::from(std::vector<int32_t>{1, 3, 0, 2}, {4}), -1, 0.1);
  }));
  CHECK_FALSE(keeps({2, 3, 4}, [](const Variable& x) { return diff::l1_distill(x, random({2, 4}, 2), {}); }));
  CHECK_FALSE(keeps({2, 3, 8}, [](const Variable& x) {
    return diff::lstm(x, parameter({8, 2}, 2), {}, {}, {}, false).h_last;
  }));
}

TEST_CASE("layer_norm and the LSTM keep rows only for gradients that need them", "[saved_tensors]") {
  CHECK(keeps({4, 6}, [](const Variable& x) {
    return diff::layer_norm(x, constant({6}, 2), constant({6}, 3), 1e-5);
  }));
  const auto rows_kept_by = [](const Variable& gamma, const Variable& beta) {
    Variable x = constant({4, 6}, 1);
    const std::weak_ptr<Storage> memory = x.value().storage();
    const Variable y = diff::layer_norm(x, gamma, beta, 1e-5);
    x = Variable();
    return !memory.expired();
  };
  CHECK(rows_kept_by(parameter({6}, 2), constant({6}, 3)));
  CHECK_FALSE(rows_kept_by(constant({6}, 2), parameter({6}, 3)));
  const auto states_kept = [](const Variable& w_hh) {
    diff::LstmOutput out = diff::lstm(parameter({2, 3, 8}, 1), w_hh, {}, {}, {}, false);
    const std::weak_ptr<Storage> memory = out.h.value().storage();
    out.h = Variable();
    return !memory.expired();
  };
  CHECK(states_kept(parameter({8, 2}, 2)));
  CHECK_FALSE(states_kept(constant({8, 2}, 2)));
}

TEST_CASE("backward multiplies only for wanted gradients", "[saved_tensors]") {
  const Tensor g = random({4, 5}, 9);
  const auto products = [&](const Variable& x, const Variable& w, const Variable& b) {
    const Variable y = diff::linear(x, w, b);
    return count_ops([&] { y.backward(g); })["matmul"];
  };
  CHECK(products(parameter({4, 3}, 1), parameter({5, 3}, 2), {}) == 2);
  CHECK(products(constant({4, 3}, 1), parameter({5, 3}, 2), {}) == 1);
  CHECK(products(parameter({4, 3}, 1), constant({5, 3}, 2), {}) == 1);
  CHECK(products(constant({4, 3}, 1), constant({5, 3}, 2), parameter({5}, 3)) == 0);
  const Variable frozen = diff::matmul(constant({4, 3}, 1), parameter({3, 5}, 2));
  CHECK(count_ops([&] { frozen.backward(g); })["matmul"] == 1);
  // The recurrent weight's gradient is one product, as long as it is wanted.
  for (const bool trained : {true, false}) {
    const Variable h =
        diff::lstm(parameter({2, 3, 8}, 1), Variable(random({8, 2}, 2), trained), {}, {}, {}, false).h;
    CHECK(count_ops([&] { h.backward(random({2, 3, 2}, 3)); })["matmul"] == (trained ? 1 : 0));
  }
}

TEST_CASE("with frozen parameters the input's gradient is the same, and theirs undefined",
          "[saved_tensors]") {
  const Tensor g = random({4, 6}, 9);
  const Tensor x = random({4, 6}, 1);
  const auto input_grad = [&](bool train_parameters, auto operation) {
    const Variable input(x, true);
    const Variable gamma(random({6}, 2), train_parameters);
    const Variable beta(random({6}, 3), train_parameters);
    operation(input, gamma, beta).backward(g);
    CHECK(gamma.grad().defined() == train_parameters);
    CHECK(beta.grad().defined() == train_parameters);
    return input.grad().template to_vector<float>();
  };
  const auto norm = [](const Variable& a, const Variable& b, const Variable& c) {
    return diff::layer_norm(a, b, c, 1e-5);
  };
  CHECK(input_grad(true, norm) == input_grad(false, norm));
  const auto residual = [](const Variable& a, const Variable& b, const Variable& c) {
    const diff::ResidualNorm both = diff::add_layer_norm(diff::scale(a, 2.0), a, b, c, 1e-5);
    return diff::add(both.sum, both.normalised);
  };
  CHECK(input_grad(true, residual) == input_grad(false, residual));
  // Of a norm whose bias alone is trained, too.
  const Variable gamma = constant({6}, 2);
  const Variable alone(random({6}, 3), true);
  const Variable together(random({6}, 3), true);
  diff::layer_norm(Variable(x), gamma, alone, 1e-5).backward(g);
  diff::layer_norm(Variable(x, true), gamma, together, 1e-5).backward(g);
  CHECK(testing::max_error(alone.grad().to_vector<float>(), together.grad().to_vector<float>()) < 1e-6);
}

TEST_CASE("attention over a fused projection copies nothing, and gives one gradient of its shape",
          "[saved_tensors]") {
  const int64_t b = 2;
  const int64_t t = 5;
  const int64_t h = 2;
  const int64_t k = 3;
  diff::AttentionOptions options;
  options.causal = true;
  options.key_valid = Tensor::from(std::vector<uint8_t>{1, 1, 0, 1, 1, 1, 0, 1, 1, 1}, {b, t});
  for (const int64_t queries : {int64_t{5}, int64_t{2}, int64_t{1}, int64_t{0}}) {
    INFO(queries << " queries");
    const Variable fused = parameter({b, t, 3 * h * k}, 1);
    const Variable apart = parameter({b, t, 3 * h * k}, 1);
    const Tensor g = random({b, queries, h, k}, 2);
    const auto part = [&](int64_t i) {
      return diff::reshape(diff::slice(apart, 2, i * h * k, h * k), {b, t, h, k});
    };
    Variable y;
    std::map<std::string, int> ran = count_ops([&] {
      y = diff::self_attention(diff::reshape(fused, {b, t, 3, h, k}), queries, options);
      y.backward(g);
    });
    if (queries == t) CHECK(ran["strided_copy"] == 0);
    const Variable reference =
        diff::attention(diff::slice(part(0), 1, 0, queries), part(1), part(2), options);
    CHECK(y.value().to_vector<float>() == reference.value().to_vector<float>());
    reference.backward(g);
    CHECK(fused.grad().to_vector<float>() == apart.grad().to_vector<float>());
  }
  // Queries that are not asked do not stay in memory.
  for (const int64_t queries : {t, int64_t{1}}) {
    INFO(queries << " queries");
    CHECK(keeps({b, t, 3, h, k}, [&](const Variable& x) { return diff::self_attention(x, queries, {}); }) ==
          (queries == t));
  }
  const Variable q = parameter({b, 4, h, k}, 3);
  const Variable q_apart = parameter({b, 4, h, k}, 3);
  const Variable kv = parameter({b, t, 2, h, k}, 4);
  const Variable kv_apart = parameter({b, t, 2, h, k}, 4);
  options.causal = false;
  const Tensor g = random({b, 4, h, k}, 5);
  Variable y;
  std::map<std::string, int> ran = count_ops([&] {
    y = diff::cross_attention(q, kv, options);
    y.backward(g);
  });
  CHECK(ran["strided_copy"] == 0);
  const auto part = [&](int64_t i) { return diff::reshape(diff::slice(kv_apart, 2, i, 1), {b, t, h, k}); };
  const Variable reference = diff::attention(q_apart, part(0), part(1), options);
  CHECK(y.value().to_vector<float>() == reference.value().to_vector<float>());
  reference.backward(g);
  CHECK(q.grad().to_vector<float>() == q_apart.grad().to_vector<float>());
  CHECK(kv.grad().to_vector<float>() == kv_apart.grad().to_vector<float>());
}

TEST_CASE("attention's probabilities are the weights that attention uses", "[saved_tensors]") {
  const Tensor q = random({2, 3, 2, 4}, 1);
  const Tensor k = random({2, 5, 2, 4}, 2);
  const Tensor v = random({2, 5, 2, 4}, 3);
  diff::AttentionOptions options;
  options.causal = true;
  options.causal_offset = 1;
  options.key_valid = Tensor::from(std::vector<uint8_t>{1, 0, 1, 1, 1, 0, 0, 1, 1, 1}, {2, 5});
  const Tensor o = diff::attention(Variable(q), Variable(k), Variable(v), options).value();
  const Tensor weights = diff::attention_probabilities(q, k, options);
  REQUIRE(weights.shape() == Shape({2, 2, 3, 5}));
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t i = 0; i < 3; ++i) {
        for (int64_t x = 0; x < 4; ++x) {
          double sum = 0;
          for (int64_t j = 0; j < 5; ++j) {
            const double weight = weights.data<float>()[((b * 2 + h) * 3 + i) * 5 + j];
            if (j > i + 1 || options.key_valid.data<uint8_t>()[b * 5 + j] == 0) CHECK(weight == 0.0);
            sum += weight * v.data<float>()[((b * 5 + j) * 2 + h) * 4 + x];
          }
          CHECK(sum == Approx(o.data<float>()[((b * 3 + i) * 2 + h) * 4 + x]).margin(1e-6));
        }
      }
    }
  }
}

TEST_CASE("lengths above T are clamped backward as forward, reverse with an initial state too",
          "[saved_tensors]") {
  for (const bool reverse : {false, true}) {
    const auto run = [&](std::vector<int32_t> lengths) {
      const Variable x = parameter({2, 3, 8}, 1);
      const Variable w = parameter({8, 2}, 2);
      const Variable h0 = parameter({2, 2}, 3);
      const Variable h = diff::lstm(x, w, h0, {}, Tensor::from(lengths, {2}), reverse).h;
      h.backward(random({2, 3, 2}, 4));
      std::vector<float> all = h.value().to_vector<float>();
      for (const Variable& leaf : {x, w, h0}) {
        for (const float value : leaf.grad().to_vector<float>()) all.push_back(value);
      }
      return all;
    };
    CHECK(run({3, 0}) == run({7, -2}));
  }
}
