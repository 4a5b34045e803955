// What the model says of a clip: commonsense first, each aspect greedily by its own decoder, then the caption
// over the memory with the aspects' hidden states.
#include "clipcap/decoding/describe.h"

#include "clipcap/encoders/towers.h"
#include "tests/golden_file.h"

using namespace clipcap;

namespace {

// A small model with sharp opinions: all parameters random and large.
std::unique_ptr<CaptionModel> random_model(const Config& config) {
  Generator generator(1);
  auto encoder = std::make_unique<VisionTower>(config.model.geometry, Activation::quick_gelu, generator);
  auto model = std::make_unique<CaptionModel>(config, std::move(encoder), 11, 9, generator);
  uint64_t seed = 7;
  for (const nn::NamedParameter& parameter : nn::parameters(*model)) {
    parameter.variable.set_value(
        Tensor::from(testing::random_values<float>(parameter.variable.value().numel(), ++seed, 0.0, 0.6),
                     parameter.variable.shape()));
  }
  return model;
}

Config small_config() {
  return parse_config(R"({"model": {
      "encoder": {"resolution": 16, "patch": 8, "width": 8, "layers": 1, "heads": 2, "embed": 6},
      "text": {"width": 8, "layers": 1, "heads": 2}, "frames": 5, "dim": 8, "heads": 2, "hidden": 12,
      "fusion": {"scales": 2}, "decoder": {"layers": 2}, "subdecoder": {"layers": 1},
      "length": {"caption": 9, "intention": 7, "effect": 8, "attribute": 5}}})",
                      "test");
}

}  // namespace

TEST_CASE("describe: aspects greedily, the caption by the options over memory and aspects", "[describe]") {
  const auto model = random_model(small_config());
  const Tensor features = Tensor::from(testing::random_values<float>(3 * 5 * 6, 3), {3, 5, 6});
  const std::vector<int32_t> lengths{5, 2, 3};
  SearchOptions options;
  options.beam = 3;
  options.length_penalty = 0.7;
  const std::vector<ClipTexts> texts = describe_clips(*model, features, lengths, options);
  REQUIRE(texts.size() == 3);

  const NoGrad guard;
  const Memory memory = model->encode(Variable(features), lengths, {});
  std::array<Variable, kAspects> hidden;
  std::array<Tensor, kAspects> valid;
  std::array<std::vector<Hypothesis>, kAspects> aspects;
  for (size_t k = 0; k < kAspects; ++k) {
    aspects[k] = search(*model->subdecoders[k], model->commonsense_table, model->commonsense_tokens, memory,
                        {}, &hidden[k], &valid[k]);
  }
  const Memory everything = model->extended(memory, hidden, valid);
  CHECK(everything.rows.dim(1) > memory.rows.dim(1));
  const auto captions =
      search(model->caption_decoder, model->caption_table, model->caption_tokens, everything, options);
  const auto without =
      search(model->caption_decoder, model->caption_table, model->caption_tokens, memory, options);
  bool aspects_matter = false;
  for (size_t b = 0; b < 3; ++b) {
    INFO("clip " << b);
    CHECK(texts[b].caption.ids == captions[b].ids);
    CHECK(texts[b].caption.score == Approx(captions[b].score));
    CHECK(texts[b].caption.log_probability == Approx(captions[b].log_probability));
    for (size_t k = 0; k < kAspects; ++k) {
      CHECK(texts[b].aspects[k].ids == aspects[k][b].ids);
      CHECK(static_cast<int64_t>(texts[b].aspects[k].ids.size()) <=
            model->aspect_length(static_cast<int>(k)) - 2);
    }
    aspects_matter = aspects_matter || without[b].score != Approx(captions[b].score);
  }
  CHECK(aspects_matter);
  CHECK(describe_clips(*model, Tensor::zeros({0, 5, 6}), {}, options).empty());
}

TEST_CASE("describe: without a sub-decoder its text is empty, and the others say the same", "[describe]") {
  Config config = small_config();
  config.model.subdecoders = {"effect"};
  const auto model = random_model(config);
  const Tensor features = Tensor::from(testing::random_values<float>(2 * 4 * 6, 5), {2, 4, 6});
  const std::vector<ClipTexts> texts = describe_clips(*model, features, {4, 4}, {});
  for (const ClipTexts& text : texts) {
    CHECK(text.aspects[0].ids.empty());
    CHECK(text.aspects[0].log_probability == 0.0);
    CHECK(text.aspects[1].log_probability < 0.0);
    CHECK(text.aspects[2].ids.empty());
  }
}
