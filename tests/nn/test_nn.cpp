// Modules against PyTorch's with the same weights (tests/golden/torch_modules.safetensors, made by
// tools/fixtures/make_torch_golden.py), optimizer and schedule.
#include "clipcap/parts/fusion.h"
#include "nn/lstm.h"
#include "nn/optim.h"
#include "tests/golden_file.h"

using namespace clipcap;

using testing::difference;

namespace {

const testing::GoldenFile& golden() {
  static const testing::GoldenFile file("torch_modules");
  return file;
}

std::vector<int32_t> lengths_of(const std::string& part) {
  return golden().at(part + ".lengths").to_vector<int32_t>();
}

}  // namespace

TEST_CASE("the encoder layer is PyTorch's pre-LN layer", "[nn]") {
  Generator generator(1);
  nn::EncoderLayer layer(16, 4, 24, Activation::gelu, 0.0, generator);
  nn::load_state_dict(layer, golden().weights("encoder", {"x", "y", "lengths"}), "golden");
  const Variable y =
      layer.forward(Variable(golden().at("encoder.x")), valid_mask(lengths_of("encoder"), 7), false, {});
  const auto compare = [&](const Tensor& got) {
    CHECK(difference(got.slice(0, 0, 1), golden().at("encoder.y").slice(0, 0, 1)) < 2e-5);
    CHECK(difference(got.slice(0, 1, 1).slice(1, 0, 4),
                     golden().at("encoder.y").slice(0, 1, 1).slice(1, 0, 4)) < 2e-5);
  };
  compare(y.value());
  nn::pack_for_inference(layer);
  const NoGrad guard;
  compare(layer.forward(Variable(golden().at("encoder.x")), valid_mask(lengths_of("encoder"), 7), false, {})
              .value());
}

TEST_CASE("the decoder layer is PyTorch's pre-LN layer, whole and step by step", "[nn]") {
  Generator generator(1);
  nn::DecoderLayer layer(16, 4, 24, Activation::gelu, 0.0, generator);
  nn::load_state_dict(layer, golden().weights("decoder", {"x", "y", "memory", "lengths"}), "golden");
  const nn::CrossMemory memory = layer.cross_attention.project(Variable(golden().at("decoder.memory")),
                                                               valid_mask(lengths_of("decoder"), 7));
  const Tensor x = golden().at("decoder.x");
  CHECK(difference(layer.forward(Variable(x), memory, {}).value(), golden().at("decoder.y")) < 2e-5);
  const NoGrad guard;
  nn::KvCache cache = nn::KvCache::make(2, 5, 4, 4);
  for (int64_t t = 0; t < 5; ++t) {
    const Variable y = layer.step(Variable(x.slice(1, t, 1).contiguous()), cache, memory);
    CHECK(difference(y.value(), golden().at("decoder.y").slice(1, t, 1)) < 2e-5);
  }
}

TEST_CASE("the LSTM is PyTorch's over packed sequences, forward and backward", "[nn]") {
  Generator generator(1);
  nn::Lstm lstm(6, 5, generator);
  nn::load_state_dict(lstm, golden().weights("lstm", {"x", "y", "dy", "dx", "lengths"}), "golden");
  const Variable x(golden().at("lstm.x").clone(), true);
  const Variable y = lstm.forward(x, golden().at("lstm.lengths"));
  CHECK(difference(y.value(), golden().at("lstm.y")) < 1e-5);
  y.backward(golden().at("lstm.dy"));
  CHECK(difference(x.grad(), golden().at("lstm.dx")) < 1e-5);
  CHECK(difference(lstm.weight_hidden.grad(), golden().at("lstm.d_weight_hidden")) < 2e-5);
  CHECK(difference(lstm.input.weight.grad(), golden().at("lstm.d_input.weight")) < 2e-5);
  CHECK(difference(lstm.input.bias.grad(), golden().at("lstm.d_input.bias")) < 2e-5);
}

TEST_CASE("Conv1d is PyTorch's with padding 1", "[nn]") {
  Generator generator(1);
  nn::Conv1d conv(6, 4, 3, Activation::gelu, generator);
  nn::load_state_dict(conv, golden().weights("conv", {"x", "y"}), "golden");
  CHECK(difference(conv.forward(Variable(golden().at("conv.x"))).value(), golden().at("conv.y")) < 1e-5);
}

TEST_CASE("cross-entropy with smoothing and ignored rows is PyTorch's", "[nn]") {
  const Variable logits(golden().at("cross_entropy.logits").clone(), true);
  const Variable loss = diff::cross_entropy(logits, golden().at("cross_entropy.targets"), -1, 0.1);
  CHECK(loss.value().item() == Approx(golden().at("cross_entropy.loss").item()).epsilon(1e-6));
  loss.backward();
  CHECK(difference(logits.grad(), golden().at("cross_entropy.dlogits")) < 1e-6);
}

TEST_CASE("AdamW is PyTorch's", "[nn]") {
  const Variable p(golden().at("adamw.start").clone(), true);
  nn::AdamW optimizer({{"p", p}}, {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.1});
  for (int i = 0; i < 5; ++i) {
    optimizer.zero_grad();
    diff::sum(diff::sub(diff::mul(p, diff::mul(p, p)), p)).backward();
    optimizer.step(0.05);
  }
  CHECK(difference(p.value(), golden().at("adamw.end")) < 2e-5);
}

TEST_CASE("clipping and the schedule", "[nn]") {
  const Variable p(Tensor::full({2}, 3.0), true);
  nn::AdamW optimizer({{"p", p}}, {});
  diff::sum(diff::scale(p, 2.0)).backward();
  CHECK(optimizer.grad_norm() == Approx(std::sqrt(8.0)));
  CHECK(nn::clip_factor(4.0, 1.0) == 0.25);
  CHECK(nn::clip_factor(0.5, 1.0) == 1.0);
  CHECK(nn::clip_factor(9.0, 0.0) == 1.0);
  CHECK(nn::warmup_cosine(0, 100, 10, 1.0, 0.1) == Approx(0.1));
  CHECK(nn::warmup_cosine(9, 100, 10, 1.0, 0.1) == Approx(1.0));
  CHECK(nn::warmup_cosine(55, 100, 10, 1.0, 0.1) == Approx(0.55));
  CHECK(nn::warmup_cosine(100, 100, 10, 1.0, 0.1) == Approx(0.1));
}

TEST_CASE("a training step after the first asks the system for no memory", "[nn]") {
  Generator generator(1);
  nn::EncoderLayer layer(32, 4, 64, Activation::gelu, 0.1, generator);
  nn::AdamW optimizer(nn::parameters(layer), {});
  const Variable x(Tensor::from(testing::random_values<float>(4 * 9 * 32, 1), {4, 9, 32}));
  Generator dropout(2);
  const auto step = [&] {
    optimizer.zero_grad();
    diff::sum(layer.forward(x, {}, true, nn::Run{true, &dropout})).backward();
    optimizer.step(1e-3, nn::clip_factor(optimizer.grad_norm(), 1.0));
  };
  step();
  step();
  const int64_t before = host_memory_statistics().system_allocations;
  for (int i = 0; i < 5; ++i) step();
  CHECK(host_memory_statistics().system_allocations == before);
}
