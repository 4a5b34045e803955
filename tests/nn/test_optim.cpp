// AdamW, clipping and the flat arena of gradients. Against PyTorch: test_nn.cpp.
#include "nn/grad_arena.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "tensor/ops.h"
#include "tests/compare.h"
#include "tests/error_message.h"

using namespace clipcap;

namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(shape.numel(), seed), shape);
}

// Adds `value` to every element of the parameter's gradient.
void push(const Variable& parameter, double value) { diff::sum(diff::scale(parameter, value)).backward(); }

nn::Mlp make_mlp() {
  Generator generator(1);
  return nn::Mlp(6, 10, Activation::gelu, generator);
}

Variable mlp_loss(const nn::Mlp& mlp, uint64_t seed) {
  const Variable x(random({3, 6}, seed));
  return diff::sum(diff::mul(mlp.forward(x, x, 0.0, {}), Variable(random({3, 6}, seed + 1))));
}

std::vector<float> all_values(nn::Module& module) {
  std::vector<float> all;
  for (const nn::NamedParameter& parameter : nn::parameters(module)) {
    const std::vector<float> own = parameter.variable.value().to_vector<float>();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

}  // namespace

TEST_CASE("AdamW's first step is lr in the gradient's direction, whatever its size", "[optim]") {
  for (const double size : {1e-3, 1.0, 50.0}) {
    const Variable p(Tensor::full({3}, 2.0), true);
    nn::AdamW optimizer({{"p", p}}, {.weight_decay = 0.0});
    push(p, -size);
    optimizer.step(0.25);
    CHECK(p.value().data<float>()[0] == Approx(2.25).epsilon(1e-4));
  }
}

TEST_CASE("weight decay is for matrices only, decoupled from the gradient", "[optim]") {
  const Variable weight(Tensor::full({2, 2}, 2.0), true);
  const Variable bias(Tensor::full({2}, 2.0), true);
  nn::AdamW optimizer({{"weight", weight}, {"bias", bias}}, {.weight_decay = 0.1});
  push(weight, 0.0);
  push(bias, 0.0);
  optimizer.step(0.5);
  CHECK(weight.value().data<float>()[0] == Approx(2.0 - 0.5 * 0.1 * 2.0));
  CHECK(bias.value().data<float>()[0] == 2.0F);
}

TEST_CASE("parameters without a gradient stay, those of a prefix move at their own rate", "[optim]") {
  const Variable a(Tensor::full({2, 2}, 1.0), true);
  const Variable b(Tensor::full({2, 2}, 1.0), true);
  const Variable idle(Tensor::full({2, 2}, 1.0), true);
  nn::AdamW optimizer({{"encoder.a", a}, {"b", b}, {"idle", idle}}, {.weight_decay = 0.1});
  optimizer.set_lr_scale("encoder.", 0.1);
  push(a, 1.0);
  push(b, 1.0);
  optimizer.step(0.1);
  CHECK(1.0 - b.value().data<float>()[0] == Approx(0.11).epsilon(1e-4));
  CHECK(1.0 - a.value().data<float>()[0] == Approx(0.011).epsilon(1e-4));
  CHECK(idle.value().data<float>()[0] == 1.0F);
}

TEST_CASE("a parameter that is named twice is updated once", "[optim]") {
  const auto run = [](bool twice) {
    const Variable p(Tensor::full({2, 2}, 1.0), true);
    std::vector<nn::NamedParameter> parameters{{"first", p}};
    if (twice) parameters.push_back({"second", p});
    nn::AdamW optimizer(parameters, {});
    for (int i = 0; i < 3; ++i) {
      optimizer.zero_grad();
      push(p, 1.0 + i);
      CHECK(optimizer.grad_norm() == Approx(2.0 * (1.0 + i)));
      optimizer.step(0.1);
    }
    CHECK(optimizer.state().size() == 2);
    return p.value().to_vector<float>();
  };
  CHECK(run(true) == run(false));
}

TEST_CASE("clipping scales the gradients that the moments see", "[optim]") {
  const Variable p(Tensor::full({4}, 1.0), true);
  nn::AdamW optimizer({{"p", p}}, {});
  push(p, 3.0);
  CHECK(optimizer.grad_norm() == Approx(6.0));
  optimizer.step(0.1, nn::clip_factor(optimizer.grad_norm(), 1.5));
  CHECK(optimizer.state().at("m.p").data<float>()[0] == Approx(0.1 * 0.75));
  CHECK(optimizer.state().at("v.p").data<float>()[0] == Approx(0.02 * 0.75 * 0.75));
}

TEST_CASE("an optimizer that goes on from a saved state takes the same steps", "[optim]") {
  nn::Mlp straight = make_mlp();
  nn::Mlp resumed = make_mlp();
  nn::AdamW first(nn::parameters(straight), {});
  const auto step = [](nn::Mlp& mlp, nn::AdamW& optimizer, uint64_t seed) {
    optimizer.zero_grad();
    mlp_loss(mlp, seed).backward();
    optimizer.step(0.01, nn::clip_factor(optimizer.grad_norm(), 1.0));
  };
  for (uint64_t i = 0; i < 6; ++i) step(straight, first, i);
  auto before = std::make_unique<nn::AdamW>(nn::parameters(resumed), nn::AdamwOptions{});
  for (uint64_t i = 0; i < 3; ++i) step(resumed, *before, i);
  nn::StateDict saved;
  for (const auto& [name, value] : before->state()) saved[name] = value.clone();
  nn::AdamW after(nn::parameters(resumed), {});
  after.load_state(saved, "file");
  after.set_steps(3);
  for (uint64_t i = 3; i < 6; ++i) step(resumed, after, i);
  CHECK(all_values(resumed) == all_values(straight));
  saved.erase("v.up.weight");
  CHECK(contains(message_of([&] { after.load_state(saved, "file"); }), "file: missing v.up.weight"));
  saved["v.up.weight"] = saved.at("m.up.weight");
  saved["m.encoder.weight"] = Tensor::zeros({2});
  CHECK(contains(message_of([&] { after.load_state(saved, "file"); }),
                 "file: m.encoder.weight is a moment of nothing"));
}

TEST_CASE("weights that may only be read are an error, not a crash", "[optim]") {
  const auto owner = std::make_shared<const std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  const auto storage = std::make_shared<Storage>(owner->data(), 16, owner);
  const Tensor mapped = Tensor::view(storage, {2, 2}, {2, 1}, 0, DType::f32);
  const Variable p(mapped, true);
  CHECK(contains(message_of([&] { nn::AdamW optimizer({{"layer.weight", p}}, {}); }), "layer.weight"));
  const Variable loaded(Tensor::zeros({2, 2}), true);
  nn::AdamW optimizer({{"layer.weight", loaded}}, {});
  loaded.set_value(mapped);
  push(loaded, 1.0);
  CHECK_THROWS_AS(optimizer.step(0.1), Error);
  CHECK((*owner)[0] == 1.0F);
}

TEST_CASE("an arena holds every gradient in one flat tensor", "[optim]") {
  nn::Mlp mlp = make_mlp();
  mlp.up.bias.set_requires_grad(false);
  std::vector<nn::NamedParameter> parameters = nn::parameters(mlp);
  parameters.push_back(parameters[0]);  // named twice: one part
  nn::GradArena arena(parameters);
  int64_t covered = 0;
  for (const Variable& parameter : {mlp.up.weight, mlp.down.weight, mlp.down.bias}) {
    const nn::GradArena::Range range = arena.range(parameter);
    CHECK(range.length == parameter.value().numel());
    CHECK(range.start % 64 == 0);
    CHECK(range.start >= covered);
    covered = range.start + range.length;
  }
  CHECK(covered <= arena.flat().numel());
  CHECK_THROWS_AS(arena.range(mlp.up.bias), Error);

  mlp_loss(mlp, 1).backward();
  mlp_loss(mlp, 2).backward();
  for (const Variable& parameter : {mlp.up.weight, mlp.down.weight, mlp.down.bias}) {
    const nn::GradArena::Range range = arena.range(parameter);
    CHECK(parameter.grad().raw() == arena.flat().slice(0, range.start, range.length).raw());
  }
  CHECK_FALSE(mlp.up.bias.grad().defined());
  double squares = 0;  // gaps are zero
  for (const float value : arena.flat().to_vector<float>()) squares += static_cast<double>(value) * value;
  nn::AdamW optimizer(nn::parameters(mlp), {});
  CHECK(optimizer.grad_norm() == Approx(std::sqrt(squares)));

  arena.zero();
  CHECK_FALSE(mlp.up.weight.grad().defined());
  for (const float value : arena.flat().to_vector<float>()) CHECK(value == 0.0F);
  push(mlp.down.bias, 2.0);
  arena.define_all();
  CHECK(mlp.down.bias.grad().to_vector<float>() == std::vector<float>(6, 2.0F));
  CHECK(mlp.up.weight.grad().to_vector<float>() == std::vector<float>(60, 0.0F));
  // After the optimizer's own zero_grad the numbers of before are not taken for gradients.
  mlp_loss(mlp, 3).backward();
  optimizer.zero_grad();
  arena.define_all();
  CHECK(optimizer.grad_norm() == 0.0);
}

TEST_CASE("training with an arena gives the same bits, and every part is ready once, when it is complete",
          "[optim]") {
  nn::Mlp plain = make_mlp();
  nn::Mlp flat = make_mlp();
  nn::GradArena arena(nn::parameters(flat));
  nn::AdamW plain_optimizer(nn::parameters(plain), {});
  nn::AdamW flat_optimizer(nn::parameters(flat), {});
  for (uint64_t i = 0; i < 4; ++i) {
    plain_optimizer.zero_grad();
    mlp_loss(plain, i).backward();
    plain_optimizer.step(0.01, nn::clip_factor(plain_optimizer.grad_norm(), 0.5));
    arena.zero();
    std::vector<std::vector<float>> sent;
    std::vector<Variable> order;
    BackwardOptions options;
    options.leaf_ready = [&](const Variable& leaf) {
      const nn::GradArena::Range range = arena.range(leaf);
      sent.push_back(arena.flat().slice(0, range.start, range.length).to_vector<float>());
      order.push_back(leaf);
    };
    mlp_loss(flat, i).backward(options);
    REQUIRE(order.size() == 4);
    CHECK(order.back().state() == flat.up.weight.state());
    for (size_t k = 0; k < 4; ++k) CHECK(sent[k] == order[k].grad().to_vector<float>());
    flat_optimizer.step(0.01, nn::clip_factor(flat_optimizer.grad_norm(), 0.5));
  }
  CHECK(all_values(plain) == all_values(flat));
}

TEST_CASE("the warm-up rises to the peak, the cosine falls to the floor", "[optim]") {
  CHECK(nn::warmup_cosine(0, 10, 0, 2.0, 0.1) == Approx(2.0));
  CHECK(nn::warmup_cosine(4, 10, 5, 2.0, 0.0) == Approx(2.0));
  CHECK(nn::warmup_cosine(5, 10, 5, 2.0, 0.0) == Approx(2.0));
  CHECK(nn::warmup_cosine(10, 10, 5, 2.0, 0.25) == Approx(0.5));
  CHECK(nn::warmup_cosine(99, 10, 5, 2.0, 0.25) == Approx(0.5));  // past the end
  CHECK(nn::warmup_cosine(3, 3, 5, 2.0, 0.0) == Approx(1.6));     // ends within the warm-up
  for (int64_t step = 6; step <= 10; ++step)
    CHECK(nn::warmup_cosine(step, 10, 5, 2.0, 0.1) < nn::warmup_cosine(step - 1, 10, 5, 2.0, 0.1));
}
