// What a clip costs, counted from the ops' own costs: every part at the length it works at.
#include "clipcap/report/model_flops.h"

#include "clipcap/model_directory.h"
#include "tensor/op.h"
#include "tests/compare.h"

namespace clipcap {
namespace {

ModelFlops flops(const std::vector<std::string>& settings = {}) {
  Config config = parse_config(
      R"({"model": {"encoder": {"resolution": 32, "patch": 16, "width": 24, "layers": 2, "heads": 3, "embed": 20},
          "frames": 12, "dim": 32, "heads": 4, "hidden": 48, "decoder": {"layers": 3}, "subdecoder": {"layers": 2},
          "length": {"caption": 10, "intention": 8, "effect": 6, "attribute": 4}}})",
      "test");
  for (const std::string& setting : settings) set_config_key(config, setting);
  const Vocabulary words = Vocabulary::build({{"a", "man", "walks", "a", "dog"}}, 0);
  return count_model_flops(*make_model(config, {words, words}));
}

}  // namespace

TEST_CASE("each scale of the fusion is counted at its own length", "[model_flops]") {
  for (const char* kind : {"lstm", "conv1d"}) {  // linear in the rows
    INFO(kind);
    const ModelFlops f = flops({std::string("model.fusion.kind=") + kind});
    REQUIRE(f.scales.size() == 3);
    CHECK(f.scales[1] == Approx(f.scales[0] / 2).epsilon(0.01));
    CHECK(f.scales[2] == Approx(f.scales[0] / 4).epsilon(0.01));
    CHECK(f.fusion > f.scales[0] + f.scales[1] + f.scales[2]);
  }
  // The LSTM: two products of 32 x 128 a row, and its gates.
  const double products = 2.0 * 12 * 2 * 32 * 128;
  CHECK(flops().scales[0] > products);
  CHECK(flops().scales[0] < 1.2 * products);
  CHECK(flops({"model.fusion.scales=1"}).scales.size() == 1);
}

TEST_CASE("decoders: the sub-decoders too, attention over the memory by its rows", "[model_flops]") {
  const ModelFlops f = flops();
  REQUIRE(f.decoders.size() == 4);
  const std::vector<std::string> names{"intention", "effect", "attribute", "caption"};
  const std::vector<int64_t> tokens{7, 5, 3, 9};
  const std::vector<int64_t> rows{24, 24, 24, 24 + 7 + 5 + 3};
  double parts = f.encoder + f.projection + f.fusion + f.vis2text;
  for (size_t i = 0; i < 4; ++i) {
    const ModelFlops::Decoder& d = f.decoders[i];
    INFO(names[i]);
    CHECK(d.name == names[i]);
    CHECK(d.tokens == tokens[i]);
    CHECK(d.memory_rows == rows[i]);
    const double layers = i == 3 ? 3 : 2;
    const auto m = static_cast<double>(d.memory_rows);
    const auto t = static_cast<double>(d.tokens);
    // Keys and values of the memory: d x 2d a row and layer.
    CHECK(d.memory >= 2 * layers * m * 32 * 64);
    CHECK(d.memory < 1.1 * 2 * layers * m * 32 * 64);
    // A token and layer: self-attention 4 d^2, cross-attention 2 d^2, the MLP 2 d hidden, and attention
    // itself: 2 d for each position so far and each row of the memory; then the logits over 8 words.
    const double expected =
        2 * layers * (t * (6 * 32 * 32 + 2 * 32 * 48 + 2 * 32 * m) + 2 * 32 * t * (t + 1) / 2) +
        2 * t * 32 * 8;
    CHECK(d.text > expected);
    CHECK(d.text < 1.25 * expected);  // norms, activations, softmax
    parts += d.memory + d.text;
  }
  CHECK(f.clip == Approx(parts).epsilon(0.01));
  CHECK(flops({R"(model.subdecoders=["effect"])"}).decoders.size() == 2);
  // Twice the frames: twice the encoder, and more rows for every decoder.
  const ModelFlops longer = flops({"model.frames=24"});
  CHECK(longer.encoder == Approx(2 * f.encoder));
  CHECK(longer.decoders[3].text - f.decoders[3].text == Approx(2.0 * 3 * 9 * 2 * 32 * 24).epsilon(0.15));
}

TEST_CASE("the image tower: its products, and the hook is put back", "[model_flops]") {
  CHECK(op_hook == nullptr);
  const ModelFlops f = flops();
  CHECK(op_hook == nullptr);
  // 4 patches of 3 x 16 x 16, 5 tokens; the last layer finishes the class token alone.
  const double layer = 5 * (4 * 24 * 24 + 2 * 24 * 96) + 2 * 24 * 5 * 5;
  const double last = 5 * 3 * 24 * 24 + 24 * 24 + 2 * 24 * 96 + 2 * 24 * 5;
  const double expected = 2.0 * 12 * (4 * 768 * 24 + layer + last + 24 * 20);
  CHECK(f.encoder > expected);
  CHECK(f.encoder < 1.15 * expected);
}

}  // namespace clipcap
