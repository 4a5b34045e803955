// A model that learnt from features of an unknown encoder: it travels without one until somebody names it.
#include "tests/clipcap/training/small_data.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"

namespace clipcap {
namespace {

Vocabularies words() {
  return {Vocabulary::build({{"a", "dog", "runs"}}, 0), Vocabulary::build({{"to", "play"}}, 0)};
}

Config config_of(int64_t features) {
  Config config = testing::small_training_config();
  set_config_key(config, concat_text("model.encoder.embed=", features));
  config.encoder.origin = "unknown";
  return config;
}

}  // namespace

TEST_CASE("a model of features of an unknown encoder holds none, and takes the one that is named",
          "[unknown_encoder]") {
  const TemporaryFolder folder("unknown_encoder");
  const std::filesystem::path clip = testing::golden_path("clip") / "openai.pt";  // features of 12 numbers
  const auto model = make_model(config_of(12), words());
  CHECK(!model->encoder->encodes());
  save_model(folder.path(), *model, words());
  for (const auto& [name, tensor] : read_safetensors(folder.path() / "model.safetensors").tensors)
    CHECK(!name.starts_with("encoder."));

  const LoadedModel alone = load_model(folder.path());
  CHECK(alone.config.encoder.origin == "unknown");
  CHECK(!alone.model->encoder->encodes());
  const LoadedModel named = load_model(folder.path(), {.encoder_weights = clip.string()});
  REQUIRE(named.model->encoder->encodes());
  CHECK(named.model->encoder->feature_dim() == 12);
  CHECK(named.config.encoder.origin.empty());
  const Tensor features = FeatureExtractor(*named.model->encoder, named.config, "")
                              .features(testing::golden_path("pictures") / "0-rgb.png");
  CHECK(features.shape() == Shape{1, 12});

  const TemporaryFolder other("unknown_encoder_other");
  save_model(other.path(), *make_model(config_of(20), words()), words());
  CHECK(contains(message_of<InputError>([&] {
                   static_cast<void>(load_model(other.path(), {.encoder_weights = clip.string()}));
                 }),
                 "openai.pt: its features have 12 numbers, those that the model learnt from 20"));
}

}  // namespace clipcap
