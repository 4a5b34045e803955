// Module trees: names, tied and frozen parameters, loading, packing, initialisation.
#include "nn/conv2d.h"
#include "nn/lstm.h"
#include "nn/transformer.h"
#include "tests/compare.h"
#include "tests/error_message.h"

using namespace clipcap;

namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(shape.numel(), seed), shape);
}

// Two layers that share one weight.
class Tied : public nn::Module {
 public:
  nn::Linear first;
  nn::Linear second;
  explicit Tied(Generator& generator) : first(3, 3, generator), second(3, 3, generator) {
    second.weight = first.weight;
  }
  void visit(nn::Visitor& visitor) override {
    visitor("first", first);
    visitor("second", second);
  }
};

std::vector<std::string> names_of(nn::Module& module) {
  std::vector<std::string> names;
  for (const nn::NamedParameter& parameter : nn::parameters(module)) names.push_back(parameter.name);
  return names;
}

}  // namespace

TEST_CASE("modules are found by their dotted paths", "[modules]") {
  Generator generator(1);
  nn::DecoderLayer layer(8, 2, 12, Activation::gelu, 0.0, generator);
  CHECK(&nn::find_module(layer, "mlp.down") == &layer.mlp.down);
  CHECK(&nn::find_module(layer, "") == &layer);
  CHECK(contains(message_of([&] { (void)nn::find_module(layer, "mlp.sideways"); }), "\"mlp.sideways\""));
  std::vector<std::string> names;
  for (const nn::NamedModule& module : nn::modules(layer)) names.push_back(module.name);
  CHECK(names == std::vector<std::string>{
                     "norm_self", "self_attention", "self_attention.in_proj", "self_attention.out_proj",
                     "norm_cross", "cross_attention", "cross_attention.query", "cross_attention.kv_proj",
                     "cross_attention.out_proj", "norm_mlp", "mlp", "mlp.up", "mlp.down"});
}

TEST_CASE("parameters are named below a prefix, in visiting order", "[modules]") {
  Generator generator(1);
  nn::Mlp mlp(3, 4, Activation::relu, generator);
  std::vector<std::string> names;
  for (const nn::NamedParameter& parameter : nn::parameters(mlp, "decoder.mlp"))
    names.push_back(parameter.name);
  CHECK(names == std::vector<std::string>{"decoder.mlp.up.weight", "decoder.mlp.up.bias",
                                          "decoder.mlp.down.weight", "decoder.mlp.down.bias"});
  CHECK(nn::parameter_count(mlp) == 2 * 12 + 4 + 3);
}

TEST_CASE("a tied parameter counts once, under its first name", "[modules]") {
  Generator generator(1);
  Tied tied(generator);
  const std::vector<std::string> expected{"first.weight", "first.bias", "second.bias"};
  CHECK(names_of(tied) == expected);
  CHECK(nn::parameter_count(tied) == 9 + 3 + 3);
  const nn::StateDict state = nn::state_dict(tied);
  CHECK(state.size() == 3);
  Generator other(2);
  Tied copy(other);
  nn::load_state_dict(copy, state, "test");
  CHECK(copy.second.weight.value().to_vector<float>() == tied.first.weight.value().to_vector<float>());
  nn::convert(copy, DType::f64);
  CHECK(copy.second.weight.state() == copy.first.weight.state());
  CHECK(copy.second.weight.dtype() == DType::f64);
}

TEST_CASE("convert keeps frozen parameters frozen and drops gradients of the old dtype", "[modules]") {
  Generator generator(1);
  nn::Mlp mlp(4, 6, Activation::gelu, generator);
  nn::set_requires_grad(mlp.up, false);
  const auto run = [&](DType dtype) {
    const Variable x(random({2, 4}, 1).to(dtype));
    diff::sum(mlp.forward(x, x, 0.0, {})).backward();
  };
  run(DType::f32);
  nn::convert(mlp, DType::f64);
  CHECK_FALSE(mlp.up.weight.requires_grad());
  CHECK(mlp.down.weight.requires_grad());
  CHECK_FALSE(mlp.down.weight.grad().defined());
  run(DType::f64);
  CHECK(mlp.down.weight.grad().dtype() == DType::f64);
}

TEST_CASE("loading from the storage that the parameter lies in still copies other numbers", "[modules]") {
  Generator generator(1);
  nn::LayerNorm norm(3);
  // All tensors of one file share a storage.
  const Tensor file = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {12});
  const nn::StateDict first{{"weight", file.slice(0, 0, 3)}, {"bias", file.slice(0, 3, 3)}};
  const nn::StateDict second{{"weight", file.slice(0, 6, 3)}, {"bias", file.slice(0, 9, 3)}};
  nn::load_state_dict(norm, first, "file", {.share = true});
  CHECK(norm.weight.value().storage() == file.storage());
  nn::load_state_dict(norm, second, "file", {.share = true});
  CHECK(norm.weight.value().to_vector<float>() == std::vector<float>{7, 8, 9});
  CHECK(norm.bias.value().to_vector<float>() == std::vector<float>{10, 11, 12});
  // The same first element, other strides: the row and the column of one matrix.
  const Tensor matrix = file.slice(0, 0, 9).reshape({3, 3});
  nn::load_state_dict(norm, {{"weight", matrix.slice(0, 0, 1).reshape({3})}, {"bias", file.slice(0, 0, 3)}},
                      "file", {.share = true});
  nn::load_state_dict(norm, {{"weight", matrix.slice(1, 0, 1).reshape({3})}, {"bias", file.slice(0, 0, 3)}},
                      "file", {.share = true});
  CHECK(norm.weight.value().to_vector<float>() == std::vector<float>{1, 4, 7});
}

TEST_CASE("loading without sharing gives the parameter memory of its own", "[modules]") {
  nn::LayerNorm norm(2);
  const Tensor weight = Tensor::from(std::vector<float>{1, 2}, {2});
  nn::load_state_dict(norm, {{"weight", weight}, {"bias", weight}}, "file");
  weight.fill_zero();
  CHECK(norm.weight.value().to_vector<float>() == std::vector<float>{1, 2});
  CHECK(norm.bias.value().storage() != norm.weight.value().storage());
}

TEST_CASE("loading converts to the parameter's dtype and leaves a frozen one frozen", "[modules]") {
  nn::LayerNorm norm(2);
  norm.bias.set_requires_grad(false);
  const Tensor wide = Tensor::from(std::vector<double>{1.5, -2.5}, {2});
  for (const bool share : {false, true}) {
    nn::load_state_dict(norm, {{"weight", wide}, {"bias", wide.to(DType::bf16)}}, "file", {.share = share});
    for (const Variable& parameter : {norm.weight, norm.bias}) {
      CHECK(parameter.dtype() == DType::f32);
      CHECK(parameter.value().to_vector<float>() == std::vector<float>{1.5F, -2.5F});
    }
  }
  CHECK(norm.weight.requires_grad());
  CHECK_FALSE(norm.bias.requires_grad());
}

TEST_CASE("a packed module refuses to be saved or loaded, unless it is left out", "[modules]") {
  Generator generator(1);
  nn::EncoderLayer layer(8, 2, 12, Activation::gelu, 0.0, generator);
  const nn::StateDict whole = nn::state_dict(layer);
  nn::pack_for_inference(layer.mlp);
  CHECK(layer.mlp.up.packed());
  CHECK(
      contains(message_of([&] { (void)nn::state_dict(layer); }), "mlp.up (Linear 8 -> 12, gelu) is packed"));
  CHECK(contains(message_of([&] { (void)nn::state_dict(layer.mlp.up); }), "is packed for inference"));
  CHECK(contains(message_of([&] { nn::load_state_dict(layer, whole, "file"); }), "mlp.up"));
  nn::StateDict rest = nn::state_dict(layer, "mlp");
  CHECK(rest.size() == whole.size() - 4);
  CHECK(rest.contains("norm_mlp.weight"));
  const Tensor other = Tensor::full({8}, 2.5);
  rest["norm_mlp.weight"] = other;
  nn::load_state_dict(layer, rest, "file", {.except = "mlp"});
  CHECK(layer.norm_mlp.weight.value().to_vector<float>() == other.to_vector<float>());
}

TEST_CASE("a packed layer checks its input and its residual", "[modules]") {
  Generator generator(1);
  nn::Linear linear(6, 8, generator, {.residual = true});
  const NoGrad guard;
  const Variable x(random({4, 6}, 1));
  const Variable right(random({4, 8}, 2));
  const Tensor expected = linear.forward(x, right).value();
  for (const bool packed : {false, true}) {
    INFO("packed " << packed);
    if (packed) CHECK(linear.pack());
    CHECK(testing::max_error(linear.forward(x, right).value().to_vector<float>(),
                             expected.to_vector<float>()) < 1e-5);
    CHECK(contains(message_of([&] {
                     (void)linear.forward(x, Variable(random({1, 8}, 3)));
                   }),
                   "residual is [1, 8], x [4, 6]; expected [4, 8]"));
    CHECK(contains(message_of([&] {
                     (void)linear.forward(x, Variable(random({4, 4}, 3)));
                   }),
                   "expected [4, 8]"));
    CHECK(contains(message_of([&] { (void)linear.forward(x); }), "residual missing"));
    CHECK(contains(message_of([&] {
                     (void)linear.forward(Variable(random({4, 5}, 1)), right);
                   }),
                   "expected [..., 6]"));
  }
}

TEST_CASE("the end of an inner SkipInitialisation does not end the outer one", "[modules]") {
  Generator generator(1);
  {
    const nn::SkipInitialisation outer;
    { const nn::SkipInitialisation inner; }
    const nn::Linear skipped(3, 4, generator);
    CHECK_FALSE(skipped.weight.value().is_contiguous());
    CHECK(generator.position() == 0);
  }
  const nn::Linear made(3, 4, generator);
  CHECK(made.weight.value().is_contiguous());
}

TEST_CASE("initial values are those of the seed", "[modules]") {
  // Frozen: trained models and every stored reference rest on them.
  Generator generator(1);
  const nn::Linear linear(3, 2, generator);
  const nn::Embedding embedding(2, 2, 0.5, generator);
  CHECK(generator.position() == 2);
  const float bound = std::sqrt(6.0F / 5.0F);
  for (int64_t i = 0; i < 6; ++i) {
    const float uniform = uniform_from_bits(philox(1, 0, static_cast<uint64_t>(i) / 4).v[i % 4]);
    CHECK(linear.weight.value().data<float>()[i] == Approx(bound * (2.0F * uniform - 1.0F)));
  }
  CHECK(embedding.weight.value().data<float>()[3] == Approx(0.5F * normal_at(1, 1, 3)));
}

TEST_CASE("decoding with caches refuses to lose a gradient", "[modules]") {
  Generator generator(1);
  nn::SelfAttention attention(8, 2, generator);
  nn::KvCache cache = nn::KvCache::make(1, 3, 2, 4);
  const Variable x(random({1, 1, 8}, 1));
  CHECK(contains(message_of([&] { (void)attention.step(x, x, cache); }), "decode under NoGrad"));
  CHECK(cache.length == 0);
  {
    const NoGrad guard;
    (void)attention.step(x, x, cache);
    CHECK(cache.length == 1);
  }
  nn::set_requires_grad(attention, false);
  (void)attention.step(x, x, cache);  // nothing to record
  CHECK(cache.length == 2);
  CHECK(contains(message_of([&] {
                   (void)attention.step(Variable(random({1, 1, 8}, 1), true), x, cache);
                 }),
                 "NoGrad"));
}

TEST_CASE("cached steps are the causal forward, several positions at once and after a reorder", "[modules]") {
  Generator generator(1);
  const nn::SelfAttention attention(8, 2, generator);
  const NoGrad guard;
  const Tensor x = random({2, 6, 8}, 1);
  const Tensor whole = attention.forward(Variable(x), Variable(x), {}, true, 0.0, {}).value();
  nn::KvCache cache = nn::KvCache::make(2, 6, 2, 4);
  int64_t at = 0;
  for (const int64_t steps : {int64_t{2}, int64_t{1}, int64_t{3}}) {
    const Variable now(x.slice(1, at, steps).contiguous());
    const Tensor y = attention.step(now, now, cache).value();
    CHECK(testing::max_error(y.to_vector<float>(), whole.slice(1, at, steps).to_vector<float>()) < 1e-5);
    at += steps;
    // Beams swap places twice: every row finds its own past again.
    const Tensor swapped = Tensor::from(std::vector<int32_t>{1, 0}, {2});
    cache.reorder(swapped);
    CHECK(cache.length == at);
    cache.reorder(swapped);
  }
  // A row that becomes a copy of the other goes on as the other.
  nn::KvCache beams = nn::KvCache::make(2, 6, 2, 4);
  const Variable first(x.slice(1, 0, 5).contiguous());
  (void)attention.step(first, first, beams);
  beams.reorder(Tensor::from(std::vector<int32_t>{1, 1}, {2}));
  const Variable last(x.slice(0, 1, 1).slice(1, 5, 1).expand({2, 1, 8}).contiguous());
  const Tensor y = attention.step(last, last, beams).value();
  CHECK(testing::max_error(y.slice(0, 0, 1).to_vector<float>(), y.slice(0, 1, 1).to_vector<float>()) == 0.0);
  CHECK(testing::max_error(y.slice(0, 1, 1).to_vector<float>(),
                           whole.slice(0, 1, 1).slice(1, 5, 1).to_vector<float>()) < 1e-5);
  CHECK(
      contains(message_of([&] { (void)attention.step(last, last, beams); }), "the cache holds 6 positions"));
}

TEST_CASE("dropout takes from the branch, never from the residual, and only in training", "[modules]") {
  Generator generator(1);
  nn::Linear linear(6, 8, generator, {.residual = true});
  const Variable x(random({50, 6}, 1));
  const Variable residual(random({50, 8}, 2));
  const std::vector<float> kept = residual.value().to_vector<float>();
  const std::vector<float> whole = linear.forward(x, residual, {}, 0.5).value().to_vector<float>();
  Generator dropout(7);
  CHECK(linear.forward(x, residual, nn::Run{false, &dropout}, 0.5).value().to_vector<float>() == whole);
  CHECK(dropout.position() == 0);
  const std::vector<float> got =
      linear.forward(x, residual, nn::Run{true, &dropout}, 0.25).value().to_vector<float>();
  int dropped = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == kept[i]) {
      ++dropped;
    } else {
      CHECK(got[i] == Approx(kept[i] + (whole[i] - kept[i]) / 0.75).margin(1e-5));
    }
  }
  CHECK(dropped > 60);
  CHECK(dropped < 140);                                                      // of 400
  CHECK_THROWS_AS(linear.forward(x, residual, nn::Run{true}, 0.25), Error);  // no random stream
}

TEST_CASE("a layer draws a dropout mask for each of its branches", "[modules]") {
  Generator generator(1);
  const Variable x(random({2, 3, 8}, 1));
  const auto drawn = [](const auto& call) {
    Generator dropout(7);
    call(nn::Run{true, &dropout});
    return dropout.position();
  };
  const nn::Mlp mlp(8, 12, Activation::gelu, generator);
  CHECK(drawn([&](const nn::Run& run) { (void)mlp.forward(x, x, 0.1, run); }) == 2);  // hidden and output
  CHECK(drawn([&](const nn::Run& run) { (void)mlp.forward(x, x, 0.0, run); }) == 0);
  const nn::EncoderLayer encoder(8, 2, 12, Activation::gelu, 0.1, generator);
  CHECK(drawn([&](const nn::Run& run) { (void)encoder.forward(x, {}, false, run); }) == 3);
  const nn::DecoderLayer decoder(8, 2, 12, Activation::gelu, 0.1, generator);
  const nn::CrossMemory memory = decoder.cross_attention.project(x, {});
  CHECK(drawn([&](const nn::Run& run) { (void)decoder.forward(x, memory, run); }) == 4);
  // Decoding drops nothing.
  const NoGrad guard;
  nn::KvCache cache = nn::KvCache::make(2, 3, 2, 4);
  CHECK(drawn([&](const nn::Run& run) { (void)decoder.step(x, cache, memory, run); }) == 0);
}

TEST_CASE("the LSTM's forget gate begins open", "[modules]") {
  Generator generator(1);
  const nn::Lstm lstm(3, 2, generator);
  CHECK(lstm.input.bias.value().to_vector<float>() == std::vector<float>{0, 0, 1, 1, 0, 0, 0, 0});
  const float bound = 1.0F / std::sqrt(2.0F);
  for (const float weight : lstm.weight_hidden.value().to_vector<float>()) CHECK(std::abs(weight) <= bound);
}

TEST_CASE("freezing a module freezes what is below it", "[modules]") {
  Generator generator(1);
  nn::EncoderLayer layer(8, 2, 12, Activation::gelu, 0.0, generator);
  nn::set_requires_grad(layer.attention, false);
  const Variable x(random({2, 3, 8}, 1));
  diff::sum(diff::mul(layer.forward(x, {}, false, {}), Variable(random({2, 3, 8}, 2)))).backward();
  for (const nn::NamedParameter& parameter : nn::parameters(layer)) {
    INFO(parameter.name);
    CHECK(parameter.variable.grad().defined() == !parameter.name.starts_with("attention."));
  }
}

TEST_CASE("a convolution does not write its sum over borrowed memory", "[modules]") {
  Generator generator(1);
  nn::Conv2d convolution(2, 2, 1, generator, {.residual = true});
  const Tensor x = Tensor::full({1, 1, 2, 2}, 1.0);
  static const float numbers[4] = {1, 2, 3, 4};
  const auto owner = std::make_shared<int>(0);
  const Tensor borrowed = Tensor::view(std::make_shared<Storage>(numbers, sizeof numbers, owner),
                                       {1, 1, 2, 2}, {4, 4, 2, 1}, 0, DType::f32);
  const NoGrad guard;
  CHECK(contains(message_of([&] { static_cast<void>(convolution.forward(x, borrowed)); }), "read-only"));
  CHECK(convolution.forward(x, borrowed.clone()).shape() == x.shape());
}
