// Captions as ids, vocabularies, and features that are loaded once for many runs.
#include "clipcap/training/training_set.h"

#include "tests/clipcap/training/small_data.h"
#include "tests/error_message.h"

namespace clipcap {
namespace {

std::vector<testing::SmallClip> clips() {
  testing::SmallClip first{
      "first", 3, {{"a dog runs", {{{"to play"}, {"gets tired", "is happy"}, {}}}}, {"a dog", {}}}};
  testing::SmallClip second{
      "second", 2, {{"a cat sleeps on a long red sofa", {{{"to rest", "to dream"}, {}, {"soft"}}}}}};
  testing::SmallClip silent{"silent", 2, {}};
  testing::SmallClip held{"held", 4, {{"a dog sleeps", {}}, {"a bird", {}}}, "validate"};
  return {first, second, silent, held};
}

std::string joined(const Vocabulary& words, std::span<const int32_t> ids) { return words.decode(ids); }

}  // namespace

TEST_CASE("captioned clips: one split, texts as ids, annotations with their captions", "[training_set]") {
  const TemporaryFolder folder("training_set");
  testing::write_small_data(folder, clips());
  Config config = testing::small_training_config();
  config.model.caption_length = 6;
  const Dataset dataset = read_dataset(folder.path(), {});
  const Vocabularies words = make_vocabularies(dataset, config);
  const CaptionedClips train(dataset, "train", words, config.model);
  REQUIRE(train.size() == 2);  // a clip without captions is left out
  CHECK(train.clips()[0].video_id == "first");
  CHECK(train.clips()[0].captions == 2);
  CHECK(train.clips()[1].first_caption == 2);
  CHECK(train.clips()[1].captions == 1);
  CHECK(train.clips()[1].file.ends_with("/second.npy"));
  REQUIRE(train.captions() == 3);
  CHECK(train.text(0) == "a dog runs");
  CHECK(train.text(2) == "a cat sleeps on a long red sofa");
  CHECK(joined(words.caption, train.ids(0)) == "a dog runs");
  CHECK(joined(words.caption, train.ids(1)) == "a dog");
  CHECK(joined(words.caption, train.ids(2)) == "a cat sleeps on");  // six ids with sos and eos
  CHECK(train.ids(2).size() == 6);
  CHECK(train.ids(2).front() == words.caption.sos());
  CHECK(train.ids(2).back() == words.caption.eos());
  const std::array<std::array<size_t, 3>, 3> counts{{{1, 2, 0}, {0, 0, 0}, {2, 0, 1}}};
  for (size_t c = 0; c < 3; ++c) {
    for (int k = 0; k < kAspects; ++k) CHECK(train.annotations(c, k) == counts[c][static_cast<size_t>(k)]);
  }
  CHECK(joined(words.commonsense, train.annotation(0, 0, 0)) == "to play");
  CHECK(joined(words.commonsense, train.annotation(0, 1, 1)) == "is happy");
  CHECK(joined(words.commonsense, train.annotation(2, 0, 1)) == "to dream");
  CHECK(joined(words.commonsense, train.annotation(2, 2, 0)) == "soft");
  CHECK_THROWS_AS(train.annotation(1, 0, 0), Error);
  const CaptionedClips validate(dataset, "validate", words, config.model);
  REQUIRE(validate.size() == 1);
  CHECK(validate.clips()[0].video_id == "held");
  CHECK(joined(words.caption, validate.ids(1)) == "a <UNK>");  // a word that training never saw
}

TEST_CASE("vocabularies count the training split alone", "[training_set]") {
  const TemporaryFolder folder("training_set");
  testing::write_small_data(folder, clips());
  Config config = testing::small_training_config();
  const Dataset dataset = read_dataset(folder.path(), {});
  const auto knows = [](const Vocabulary& vocabulary, const std::string& word) {
    return vocabulary.encode({word}, 3)[1] != vocabulary.unk();
  };
  const Vocabularies all = make_vocabularies(dataset, config);
  for (const char* word : {"a", "dog", "runs", "sofa"}) CHECK(knows(all.caption, word));
  CHECK(!knows(all.caption, "bird"));
  CHECK(!knows(all.caption, "rest"));  // a commonsense word
  for (const char* word : {"to", "rest", "happy", "soft"}) CHECK(knows(all.commonsense, word));
  CHECK(!knows(all.commonsense, "dog"));
  config.train.min_count = 1;
  const Vocabularies frequent = make_vocabularies(dataset, config);
  CHECK(knows(frequent.caption, "dog"));
  CHECK(!knows(frequent.caption, "runs"));
}

TEST_CASE("each part is loaded once and serves every run that agrees on the data", "[training_set]") {
  const TemporaryFolder folder("training_set");
  testing::write_small_data(folder, clips());
  Config config = testing::small_training_config();
  config.loss.distill = 0;
  config.data.eval_split = "validate";
  config.train.eval_every = 5;
  TrainingSet set(config, folder.path());
  Generator generator(1);
  const auto encoder = make_image_encoder(config, generator, false);
  const FeatureExtractor extractor(*encoder, config, "");
  std::vector<std::string> loaded;
  const auto load = [&](const Config& run) {
    loaded.clear();
    set.load(run, extractor, false, [&](const char* what, size_t done, size_t all) {
      loaded.push_back(concat_text(what, done, '/', all));
    });
    return loaded;
  };
  CHECK(load(config) == std::vector<std::string>{"features1/3", "features2/3", "features3/3"});
  CHECK(!set.teacher().defined());
  CHECK(set.training_features(0).to_vector<float>() == testing::small_features(clips()[0]));
  CHECK(set.training_features(1).to_vector<float>() == testing::small_features(clips()[1]));
  CHECK(set.evaluation_features(0).to_vector<float>() == testing::small_features(clips()[3]));
  CHECK(set.evaluation().clips()[0].video_id == "held");
  CHECK(load(config).empty());
  Config distilling = config;
  for (const char* setting : {"loss.distill=10", "train.lr=1e-5", "model.fusion.kind=conv1d",
                              "model.decoder.layers=1", "train.steps=7", R"(model.subdecoders=["effect"])"})
    set_config_key(distilling, setting);
  CHECK(set.serves(distilling));
  CHECK(load(distilling) == std::vector<std::string>{"captions3/3"});
  CHECK(set.teacher().defined());
  CHECK(load(distilling).empty());
  for (const char* setting : {"model.frames=3", "data.split=validate", "data.sampling=linspace",
                              "model.length.caption=9", "train.min_count=1", "train.seed=2",
                              "loss.distill_target=tokens", "data.features=x", "model.text.width=32"}) {
    INFO(setting);
    Config other = config;
    set_config_key(other, setting);
    CHECK(!set.serves(other));
    CHECK_THROWS_AS(load(other), Error);
  }
}

TEST_CASE("what is missing is said with its file and clip", "[training_set]") {
  const TemporaryFolder folder("training_set");
  testing::write_small_data(folder, clips());
  Config config = testing::small_training_config();
  config.data.split = "nowhere";
  CHECK(message_of<InputError>([&] { TrainingSet(config, folder.path()); }) ==
        folder.path().string() +
            ": data.split: there is no split \"nowhere\"; those there are, by videodatainfo.json: train (3 "
            "clips), "
            "validate (1 clip)");
  config.data.split = "train";
  std::filesystem::remove(folder.path() / "features/second.npy");
  const auto load = [&](const std::map<std::string, Tensor>& ready) {
    ClipFeatures files;
    if (!ready.empty()) {
      const FeatureOrigin origin{"unknown", "", "", config.model.frames, config.data.sampling};
      write_feature_file(folder.path() / "some.safetensors", origin, ready);
      files.add(FeatureFile::open(folder.path() / "some.safetensors"));
    }
    TrainingSet set(config, folder.path(), std::move(files));
    Generator generator(1);
    const auto encoder = make_image_encoder(config, generator, false);
    set.load(config, FeatureExtractor(*encoder, config, ""), false, {});
    return set.training_features(0).to_vector<float>();
  };
  CHECK(contains(message_of<InputError>([&] { load({}); }),
                 ": no video, frame folder or .npy of 1 clip of the splits train: second (looked in "));
  const Tensor own = Tensor::full({2, testing::kSmallFeatures}, 7.0);
  config.data.features = "some.safetensors";
  CHECK(message_of<InputError>([&] {
          load({{"first", own}});
        }) == "some.safetensors: no features of 1 clip of the splits train: second");
  // A feature file stands before the clips' own files.
  CHECK(load({{"first", own}, {"second", own}}) == own.to_vector<float>());
}

TEST_CASE("an encoder that is trained needs no features", "[training_set]") {
  const TemporaryFolder folder("training_set");
  testing::write_small_data(folder, clips(), false);
  for (const char* id : {"first", "second", "held"}) folder.write(concat_text("videos/", id, ".mp4"), "x");
  Config config = testing::small_training_config();
  config.train.train_encoder = true;
  const auto set = testing::small_training_set(config, folder);
  CHECK_THROWS(set->training_features(0));
  CHECK(set->teacher().defined());
}

}  // namespace clipcap
