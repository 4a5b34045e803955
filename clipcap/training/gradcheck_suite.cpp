#include "clipcap/training/gradcheck_suite.h"

#include <vector>

#include "clipcap/model.h"
#include "nn/lstm.h"
#include "tensor/ops.h"

namespace clipcap {
namespace {

Variable input(const Shape& shape, uint64_t seed, double mean = 0.3) {
  Tensor value = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < value.numel(); ++i) {
    value.host<double>()[i] = mean + 0.7 * normal_at(seed, 5, static_cast<uint64_t>(i));
  }
  return Variable(value, true);
}

Tensor ids(std::vector<int32_t> values, const Shape& shape) { return Tensor::from(values, shape); }
Tensor mask(std::vector<uint8_t> values, const Shape& shape) { return Tensor::from(values, shape); }

GradcheckCase op(std::string name, std::function<Variable(const std::vector<Variable>&)> function,
                 std::vector<Variable> inputs) {
  return {std::move(name), [function = std::move(function), inputs = std::move(inputs)] {
            return gradcheck([&] { return function(inputs); }, inputs);
          }};
}

// A module in f64, checked with respect to its parameters and to `inputs`.
template <class Make, class Forward>
GradcheckCase module(std::string name, Make make, Forward forward, std::vector<Variable> inputs) {
  return {std::move(name), [=] {
            Generator generator(7);
            auto instance = make(generator);
            nn::convert(instance, DType::f64);
            std::vector<Variable> all = inputs;
            for (const nn::NamedParameter& parameter : nn::parameters(instance)) {
              // Biases begin at zero, where a sign error can hide; fresh leaves keep the gradients apart.
              double* values = parameter.variable.value().template data<double>();
              for (int64_t i = 0; i < parameter.variable.value().numel(); ++i) {
                values[i] += 0.1 * normal_at(11, 3, static_cast<uint64_t>(i));
              }
              all.push_back(parameter.variable);
            }
            return gradcheck([&] { return forward(instance, inputs); }, all, 1e-6, 16);
          }};
}

Config small_config(const std::string& fusion, int64_t scales) {
  Config config;
  config.model.encoder = "custom";
  config.model.geometry = {8, 4, 8, 1, 2, 6};
  config.model.text.embed = 6;
  config.model.dim = 8;
  config.model.heads = 2;
  config.model.hidden = 10;
  config.model.decoder_layers = 1;
  config.model.subdecoder_layers = 1;
  config.model.fusion_kind = fusion;
  config.model.fusion_scales = scales;
  config.model.vis2text_activation = "none";
  config.model.dropout = 0.1;
  return config;
}

// All losses of a batch of two clips, from cached features or, `end_to_end`, from frames through the encoder.
GradcheckCase whole_model(const std::string& fusion, int64_t scales, bool end_to_end) {
  return {end_to_end ? "model_end_to_end" : "model_" + fusion, [=] {
            Generator generator(5);
            const Config config = small_config(fusion, scales);
            CaptionModel model(
                config,
                std::make_unique<VisionTower>(config.model.geometry, Activation::quick_gelu, generator), 9, 8,
                generator);
            nn::convert(model, DType::f64);
            Batch batch;
            batch.lengths = {3, 1};
            if (end_to_end) {
              batch.frames = input({4, 3, 8, 8}, 23).value();
            } else {
              const Tensor rows = valid_mask(batch.lengths, 3).to(DType::f64).reshape({2, 3, 1});
              batch.features = ops::mul(input({2, 3, 6}, 21).value(), rows);
            }
            batch.teacher = input({2, 6}, 22).value();
            batch.caption = ids({2, 5, 6, 3, 2, 7, 3, 0}, {2, 4});
            batch.aspects = {ids({2, 4, 3, 2, 5, 3}, {2, 3}), ids({2, 6, 3, 0, 0, 0}, {2, 3}),
                             ids({2, 7, 3, 2, 4, 3}, {2, 3})};
            std::vector<Variable> all;
            for (const nn::NamedParameter& parameter : nn::parameters(model)) {
              if (end_to_end == parameter.name.starts_with("encoder.")) all.push_back(parameter.variable);
            }
            return gradcheck(
                [&] {
                  Generator dropout(3);  // the same masks at every evaluation
                  return model.losses(batch, nn::Run{true, &dropout}).total;
                },
                all, 1e-6, 3);
          }};
}

std::vector<GradcheckCase> make_cases() {
  using V = const std::vector<Variable>&;
  std::vector<GradcheckCase> cases;
  cases.push_back(
      op("add", [](V v) { return diff::add(v[0], v[1]); }, {input({3, 1, 5}, 1), input({4, 1}, 2)}));
  cases.push_back(op("sub", [](V v) { return diff::sub(v[0], v[1]); }, {input({2, 3}, 1), input({3}, 2)}));
  cases.push_back(
      op("mul", [](V v) { return diff::mul(v[0], v[1]); }, {input({2, 3, 1}, 1), input({1, 5}, 2)}));
  cases.push_back(op("mul_same", [](V v) { return diff::mul(v[0], v[0]); }, {input({7}, 1)}));
  cases.push_back(op("scale", [](V v) { return diff::scale(v[0], -1.7); }, {input({3, 3}, 1)}));
  cases.push_back(op("sum", [](V v) { return diff::sum(v[0]); }, {input({3, 5}, 1)}));
  cases.push_back(op("mean", [](V v) { return diff::mean(v[0]); }, {input({3, 5}, 1)}));
  cases.push_back(op("reshape",
                     [](V v) {
                       return diff::reshape(diff::transpose(v[0], 0, 1), {-1, 2});
                     },
                     {input({4, 3}, 1)}));
  cases.push_back(op("transpose", [](V v) { return diff::transpose(v[0], 0, 2); }, {input({2, 3, 4}, 1)}));
  cases.push_back(op("slice", [](V v) { return diff::slice(v[0], 1, 1, 2); }, {input({2, 4, 3}, 1)}));
  cases.push_back(op("concat",
                     [](V v) {
                       return diff::concat({v[0], v[1], v[0]}, 1);
                     },
                     {input({2, 1, 3}, 1), input({2, 4, 3}, 2)}));
  cases.push_back(op("expand", [](V v) { return diff::expand(v[0], {2, 3, 4}); }, {input({3, 1}, 1)}));
  cases.push_back(
      op("matmul", [](V v) { return diff::matmul(v[0], v[1]); }, {input({2, 3, 4}, 1), input({2, 4, 5}, 2)}));
  cases.push_back(op("matmul_shared", [](V v) { return diff::matmul(v[0], v[1]); },
                     {input({2, 3, 4}, 1), input({4, 5}, 2)}));
  cases.push_back(op("linear", [](V v) { return diff::linear(v[0], v[1], v[2]); },
                     {input({2, 3, 4}, 1), input({5, 4}, 2), input({5}, 3)}));
  for (const auto& [name, kind] : {std::pair{"relu", Activation::relu},
                                   {"gelu", Activation::gelu},
                                   {"quick_gelu", Activation::quick_gelu},
                                   {"gelu_tanh", Activation::gelu_tanh}}) {
    cases.push_back(op(std::string("bias_") + name,
                       [kind = kind](V v) { return diff::bias_activation(v[0], v[1], kind); },
                       {input({3, 5}, 1), input({5}, 2)}));
  }
  cases.push_back(op("layer_norm", [](V v) { return diff::layer_norm(v[0], v[1], v[2], 1e-5); },
                     {input({3, 7}, 1), input({7}, 2), input({7}, 3)}));
  cases.push_back(op("add_layer_norm",
                     [](V v) {
                       const diff::ResidualNorm both = diff::add_layer_norm(v[0], v[1], v[2], v[3], 1e-5);
                       return diff::concat({both.sum, both.normalised}, 0);
                     },
                     {input({2, 5}, 1), input({2, 5}, 2), input({5}, 3), input({5}, 4)}));
  cases.push_back(op("dropout",
                     [](V v) {
                       Generator generator(3);
                       return diff::dropout(v[0], 0.4, generator);
                     },
                     {input({4, 9}, 1)}));
  cases.push_back(op("embedding",
                     [](V v) {
                       return diff::embedding(ids({2, 0, 2, 4}, {2, 2}), v[0]);
                     },
                     {input({5, 3}, 1)}));
  const auto attend = [](const char* name, diff::AttentionOptions options, int64_t queries, int64_t keys) {
    return op(name, [options](V v) { return diff::attention(v[0], v[1], v[2], options); },
              {input({2, queries, 2, 3}, 1), input({2, keys, 2, 3}, 2), input({2, keys, 2, 3}, 3)});
  };
  cases.push_back(attend("attention", {}, 4, 5));
  cases.push_back(attend("attention_causal", {{}, true, 0, 0}, 5, 5));
  cases.push_back(attend("attention_cached", {{}, true, 3, 0}, 2, 5));
  cases.push_back(attend("attention_masked", {mask({1, 0, 1, 1, 0, 0, 0, 0}, {2, 4}), false, 0, 0.7}, 3, 4));
  const auto recurrent = [](const char* name, Tensor lengths, bool reverse) {
    return op(name,
              [lengths, reverse](V v) {
                const diff::LstmOutput out = diff::lstm(v[0], v[1], v[2], v[3], lengths, reverse);
                return diff::add(out.h, diff::reshape(diff::add(out.h_last, out.c_last), {3, 1, 2}));
              },
              {input({3, 4, 8}, 1), input({8, 2}, 2), input({3, 2}, 3), input({3, 2}, 4)});
  };
  cases.push_back(recurrent("lstm", {}, false));
  cases.push_back(recurrent("lstm_lengths", ids({4, 1, 2}, {3}), false));
  cases.push_back(recurrent("lstm_reverse", ids({3, 4, 1}, {3}), true));
  cases.push_back(op("cross_entropy",
                     [](V v) {
                       return diff::cross_entropy(v[0], ids({1, -1, 4, 0}, {4}), -1, 0.1);
                     },
                     {input({4, 5}, 1)}));
  cases.push_back(op("l1_distill",
                     [](V v) {
                       const Tensor teacher = Tensor::full({2, 5}, 0.2, DType::f64);
                       return diff::l1_distill(v[0], teacher, mask({1, 1, 0, 1, 0, 0}, {2, 3}));
                     },
                     {input({2, 3, 5}, 1)}));
  cases.push_back(op("l2_normalize", [](V v) { return diff::l2_normalize(v[0]); }, {input({2, 3, 5}, 1)}));
  cases.push_back(
      op("scale_exp", [](V v) { return diff::scale_exp(v[0], v[1]); }, {input({3, 5}, 1), input({1}, 2)}));
  using G = Generator&;
  const auto x = [](uint64_t seed) { return input({2, 3, 8}, seed); };
  cases.push_back(module(
      "linear_module", [](G g) { return nn::Linear(8, 5, g, {.activation = Activation::gelu}); },
      [](nn::Linear& m, V v) { return m.forward(v[0]); }, {x(1)}));
  cases.push_back(module(
      "mlp", [](G g) { return nn::Mlp(8, 12, Activation::quick_gelu, g); },
      [](nn::Mlp& m, V v) { return m.forward(v[0], v[1], 0.0, {}); }, {x(1), x(2)}));
  cases.push_back(module(
      "conv1d", [](G g) { return nn::Conv1d(8, 4, 3, Activation::gelu, g); },
      [](nn::Conv1d& m, V v) { return m.forward(v[0]); }, {x(1)}));
  cases.push_back(module(
      "encoder_layer", [](G g) { return nn::EncoderLayer(8, 2, 12, Activation::gelu, 0.0, g); },
      [](nn::EncoderLayer& m, V v) {
        return m.forward(v[0], mask({1, 1, 0, 1, 1, 1}, {2, 3}), false, {});
      },
      {x(1)}));
  cases.push_back(module(
      "decoder_layer", [](G g) { return nn::DecoderLayer(8, 2, 12, Activation::gelu, 0.0, g); },
      [](nn::DecoderLayer& m, V v) {
        return m.forward(v[0], m.cross_attention.project(v[1], mask({1, 1, 0, 0, 1, 1, 1, 1}, {2, 4})), {});
      },
      {x(1), input({2, 4, 8}, 2)}));
  cases.push_back(module(
      "lstm_module", [](G g) { return nn::Lstm(8, 3, g); },
      [](nn::Lstm& m, V v) {
        return m.forward(v[0], ids({3, 2}, {2}));
      },
      {x(1)}));
  cases.push_back(module(
      "vision_tower",
      [](G g) {
        return VisionTower({8, 4, 8, 1, 2, 6}, Activation::quick_gelu, g);
      },
      [](VisionTower& m, V) {
        return m.forward(Variable(input({2, 3, 8, 8}, 4).value()), {});
      },
      {}));
  cases.push_back(module(
      "text_tower",
      [](G g) {
        return TextTower({9, 5, 8, 1, 2, 6}, Activation::quick_gelu, g);
      },
      [](TextTower& m, V) {
        return m.forward(ids({2, 5, 3, 2, 3, 0}, {2, 3}), {2, 1}, {});
      },
      {}));
  for (const auto& [name, kind, both] : {std::tuple{"fusion_lstm", FusionKind::lstm, false},
                                         {"fusion_lstm_bidirectional", FusionKind::lstm, true},
                                         {"fusion_transformer", FusionKind::transformer, false},
                                         {"fusion_conv1d", FusionKind::conv1d, false}}) {
    cases.push_back(module(
        name,
        [kind = kind, both = both](G g) {
          return TemporalFusion({.kind = kind, .scales = 3, .dim = 8, .bidirectional = both}, g);
        },
        [](TemporalFusion& m, V v) {
          return m.forward(v[0], {5, 2}, {});
        },
        {input({2, 5, 8}, 1)}));
  }
  cases.push_back(module(
      "vis2text", [](G g) { return Vis2Text(8, 6, true, g); },
      [](Vis2Text& m, V v) { return m.forward(v[0]); }, {x(1)}));
  cases.push_back(whole_model("lstm", 3, false));
  cases.push_back(whole_model("transformer", 2, false));
  cases.push_back(whole_model("conv1d", 1, false));
  cases.push_back(whole_model("lstm", 2, true));
  return cases;
}

}  // namespace

std::span<const GradcheckCase> gradcheck_cases() {
  static const std::vector<GradcheckCase> cases = make_cases();
  return cases;
}

}  // namespace clipcap
