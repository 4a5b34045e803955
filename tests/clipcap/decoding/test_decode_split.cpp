// Predictions for many clips, and counting those that equal a reference.
#include "clipcap/decoding/decode_split.h"

#include <set>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/training/evaluation.h"
#include "tests/clipcap/training/small_data.h"

namespace clipcap {
namespace {

struct Fixture {
  Config config = testing::small_training_config();
  Vocabularies words{Vocabulary::build({{"a", "man", "walks", "a", "dog"}, {"a", "cat", "sleeps"}}, 0),
                     Vocabulary::build({{"to", "rest"}, {"feels", "happy"}}, 0)};
  std::unique_ptr<CaptionModel> model;
  std::vector<Tensor> features;
  std::vector<ClipToDecode> clips;
  std::vector<size_t> asked;  // in which order features were asked for

  explicit Fixture(size_t count, const std::string& subdecoders = R"(["intention","effect","attribute"])") {
    set_config_key(config, "model.subdecoders=" + subdecoders);
    model = make_model(config, words);
    // Large values, so that different clips say different things.
    for (const nn::NamedParameter& parameter : nn::parameters(*model)) {
      float* at = parameter.variable.value().data<float>();
      for (int64_t i = 0; i < parameter.variable.value().numel(); ++i) at[i] *= 1.6F;
    }
    for (size_t i = 0; i < count; ++i) {
      const testing::SmallClip clip{"clip" + std::to_string(i), 1 + static_cast<int64_t>(i % 5), {}};
      features.push_back(Tensor::from(testing::small_features(clip), {clip.frames, testing::kSmallFeatures}));
      clips.push_back({clip.id, [this, i] {
                         asked.push_back(i);
                         return features[i];
                       }});
    }
  }
};

}  // namespace

TEST_CASE("predictions are what the model says of each clip, in the clips' order", "[decode_split]") {
  for (const int64_t beam : {1, 4}) {
    INFO("beam " << beam);
    Fixture f(11);
    DecodeOptions options;
    options.search.beam = beam;
    options.clips_at_once = 4;
    std::vector<std::string> reported;
    options.each = [&](size_t index, const Prediction& prediction) {
      CHECK(index == reported.size());
      // Clips ahead of the batch are not asked for yet.
      CHECK(f.asked.size() == std::min<size_t>(11, (index / 4 + 1) * 4));
      reported.push_back(prediction.caption);
    };
    const std::vector<Prediction> predictions = decode_split(*f.model, f.words, f.clips, options);
    REQUIRE(predictions.size() == 11);
    CHECK(reported.size() == 11);
    std::set<std::string> different;
    for (size_t i = 0; i < 11; ++i) {
      CHECK(f.asked[i] == i);
      const std::vector<Tensor> own{f.features[i]};
      const FeatureBatch alone = stack_features(own);
      const ClipTexts texts = describe_clips(*f.model, alone.features, alone.lengths, options.search)[0];
      const Prediction& p = predictions[i];
      CHECK(p.video_id == "clip" + std::to_string(i));
      CHECK(p.caption == f.words.caption.decode(texts.caption.ids));
      CHECK(p.caption == reported[i]);
      for (size_t k = 0; k < kAspects; ++k)
        CHECK(p.aspects[k] == f.words.commonsense.decode(texts.aspects[k].ids));
      CHECK(p.log_probability == Approx(texts.caption.log_probability).epsilon(1e-4));
      CHECK(p.score == Approx(texts.caption.score).epsilon(1e-4));
      CHECK(p.log_probability < 0);
      CHECK((beam > 1) == (p.score != p.log_probability));
      different.insert(p.caption);
    }
    CHECK(different.size() > 2);
  }
}

TEST_CASE("aspects that the model lacks stay empty; no clips, no predictions", "[decode_split]") {
  Fixture f(2, R"(["effect"])");
  const std::vector<Prediction> predictions = decode_split(*f.model, f.words, f.clips);
  for (const Prediction& prediction : predictions) {
    CHECK(prediction.aspects[0].empty());
    CHECK(!prediction.aspects[1].empty());
    CHECK(prediction.aspects[2].empty());
  }
  CHECK(decode_split(*f.model, f.words, {}).empty());
}

TEST_CASE("only a caption that is one of its own clip's references counts", "[decode_split]") {
  Fixture f(6);
  const std::vector<Prediction> said = decode_split(*f.model, f.words, f.clips);
  const auto evaluated = [&](const std::vector<std::vector<std::string>>& references) {
    Dataset dataset;
    dataset.splits = {"test"};
    for (size_t i = 0; i < references.size(); ++i) {
      Dataset::Clip& clip = dataset.clips.emplace_back();
      clip.video_id = "clip" + std::to_string(i);
      clip.first_caption = dataset.captions.size();
      clip.captions = references[i].size();
      for (const std::string& text : references[i]) {
        dataset.captions.emplace_back().text = static_cast<uint32_t>(dataset.texts.size());
        dataset.texts.add(std::span(text.data(), text.size()));
        std::vector<uint32_t> words;
        for (const std::string& word : split_words(text)) words.push_back(dataset.words.add(word));
        dataset.tokens.add(words);
      }
    }
    const CaptionedClips clips(dataset, "test", f.words, f.config.model);
    return evaluate(*f.model, f.words, clips, [&](size_t i) { return f.features[i]; });
  };
  std::vector<std::vector<std::string>> wrong;
  for (size_t i = 0; i < 6; ++i) {
    REQUIRE(said[i].caption != "a cat walks");
    wrong.push_back({"a cat walks"});
  }
  CHECK(evaluated(wrong).equal == 0);
  auto references = wrong;
  references[1] = {"a dog", said[1].caption};  // among others
  references[4] = {said[4].caption};
  const Evaluation two = evaluated(references);
  CHECK(two.equal == 2);
  REQUIRE(two.predictions.size() == 6);
  for (size_t i = 0; i < 6; ++i) CHECK(two.predictions[i].caption == said[i].caption);
  // The text with a word before it, or without its last one, is another text; and so is another clip's.
  references = wrong;
  const std::string& own = said[1].caption;
  references[1] = {(own.starts_with("cat") ? "dog " : "cat ") + own, own.substr(0, own.rfind(' '))};
  size_t others = 0;
  for (size_t i = 0; i < 6; ++i) {
    if (said[i].caption == own) continue;
    references[i] = {own};
    ++others;
  }
  CHECK(others >= 2);
  CHECK(evaluated(references).equal == 0);
}

}  // namespace clipcap
