// A data set judged before step 1: what is refused, what is switched off, and what is said of it.
#include "clipcap/training/data_check.h"

#include "tests/clipcap/training/small_data.h"
#include "tests/error_message.h"

namespace clipcap {
namespace {

using testing::SmallClip;

std::vector<SmallClip> clips() {
  SmallClip first{"first", 3, {{"a dog runs", {{{"to play"}, {"gets tired"}, {"quick"}}}}, {"a dog", {}}}};
  SmallClip second{"second", 2, {{"a cat sleeps", {{{"to rest", "to dream"}, {}, {}}}}}};
  SmallClip held{"held", 4, {{"a dog sleeps", {}}, {"a bird sings", {}}}, "val"};
  return {first, second, held};
}

struct Fixture {
  TemporaryFolder folder{"data_check"};
  Config config = testing::small_training_config();
  explicit Fixture(const std::vector<SmallClip>& data = clips()) {
    testing::write_small_data(folder, data);
    config.data.eval_split.clear();
  }
  [[nodiscard]] Config with(const std::vector<std::string>& settings) const {
    Config own = config;
    for (const std::string& setting : settings) set_config_key(own, setting);
    return own;
  }
  [[nodiscard]] std::string error(const std::vector<std::string>& settings = {}) const {
    return message_of<InputError>([&] { TrainingSet(with(settings), folder.path()); });
  }
  [[nodiscard]] std::string report(const std::vector<std::string>& settings = {}) const {
    const TrainingSet set(with(settings), folder.path());
    std::string text;
    for (const std::string& line : set.report()) text += line + "\n";
    return text;
  }
};

}  // namespace

TEST_CASE("what would train nothing, or a decoder that writes what nothing trained, is refused",
          "[data_check]") {
  const auto error = [&](const std::vector<std::string>& settings) {
    Config config = testing::small_training_config();
    for (const std::string& setting : settings) set_config_key(config, setting);
    return message_of<InputError>([&] { check_losses(config); });
  };
  check_contains(error({"loss.distill=0", "loss.alpha=[0,0,0,0]"}), "train: every loss is off");
  check_contains(error({"loss.distill=0", "loss.alpha=[0,1,1,1]", "model.subdecoders=[]"}),
                 "every loss is off");
  check_contains(error({"loss.alpha=[0,1,1,1]"}), "captions that nothing trained");
  check_contains(error({"loss.alpha=[1,1,0,1]"}), "the weight of effect is 0");
  CHECK(error({"loss.alpha=[1,1,0,1]", "model.subdecoders=[\"intention\"]"}).empty());
  CHECK(error({"loss.distill=0"}).empty());
}

TEST_CASE("splits go by all their names, and an unknown one lists those there are", "[data_check]") {
  const Fixture f;
  for (const char* name : {"val", "validate", "validation", "Val", "dev"}) {
    INFO(name);
    const TrainingSet set(f.with({concat_text("data.eval_split=", name)}), f.folder.path());
    CHECK(set.config().data.eval_split == "validate");
    CHECK(set.evaluation().size() == 1);
  }
  CHECK(TrainingSet(f.config, f.folder.path()).config().data.eval_split ==
        "validate");  // where none is named
  for (const char* key : {"data.split", "data.eval_split"}) {
    for (const char* name : {"tset", "test", "trian"}) {
      check_contains(
          f.error({concat_text(key, "=", name)}),
          concat_text(key, ": there is no split \"", name,
                      "\"; those there are, by videodatainfo.json: train (2 clips), validate (1 clip)"));
    }
  }
  std::vector<SmallClip> all = clips();
  all.pop_back();
  const Fixture without(all);
  const TrainingSet set(without.with({"train.eval_every=5"}), without.folder.path());
  CHECK(set.evaluation().size() == 0);
  CHECK(set.config().train.eval_every == 0);
  check_contains(without.report({"train.eval_every=5"}), "no split validate: nothing is evaluated");
}

TEST_CASE("each split has a line of numbers", "[data_check]") {
  std::vector<SmallClip> all = clips();
  all[1].captions.push_back({" . , !", {}});
  all[2].captions.push_back({"", {}});
  all.push_back({"mute", 2, {{"", {}}, {"...", {}}}});
  Fixture f(all);
  const std::string report = f.report();
  check_contains(report,
                 "train: 2 clips, 3 captions; commonsense: 2 matched, 1 unmatched (3 intention, 1 effect, 1 "
                 "attribute); 3 empty captions dropped, 1 clip without captions left out; <UNK>: 0.0 %");
  check_contains(
      report,
      "validate: 1 clip, 2 captions; commonsense: 0 matched, 2 unmatched; 1 empty captions dropped; "
      "<UNK>: 33.3 % of caption words\n");
  check_contains(report, "splits by videodatainfo.json: train (3 clips), validate (1 clip)\n");
  for (SmallClip& clip : all) clip.captions = {{"", {}}};
  const Fixture empty(all);
  check_contains(empty.error({"model.subdecoders=[]"}),
                 "none of the 3 clips of the split \"train\" has a caption with words in videodatainfo.json");
}

TEST_CASE("a sub-decoder without annotations is off, in words", "[data_check]") {
  const Fixture f;
  std::filesystem::remove(f.folder.path() / "V2C_caption.json");
  const TrainingSet none(f.config, f.folder.path());
  CHECK(none.config().model.subdecoders.empty());
  check_contains(f.report(),
                 "no annotations of intention, effect, attribute in the split \"train\" (V2C's caption file "
                 "is not there): these sub-decoders are off");
  CHECK(!contains(f.report({"model.subdecoders=[]"}), "off"));
  std::vector<SmallClip> all = clips();
  all[0].captions[0].aspects[2].clear();  // the only attribute
  const Fixture some(all);
  CHECK(TrainingSet(some.config, some.folder.path()).config().model.subdecoders ==
        std::vector<std::string>{"intention", "effect"});
  check_contains(some.report(),
                 "no annotations of attribute in the split \"train\" (V2C's caption file has none): this "
                 "sub-decoder is off");
  f.folder.write("V2C_caption.json",
                 R"({"video9000":[{"final_caption":["x"],"effect":[["y",["y"]]]}],"video9001":[]})");
  check_contains(f.error(),
                 "V2C_caption.json: V2C's annotations are of other clips: none of its 2 ids (video9000, …)");
  CHECK(f.error({"model.subdecoders=[]"}).empty());
}

TEST_CASE("V2C's ids are read in other spellings, and that is said", "[data_check]") {
  const Fixture f({{"video0", 2, {{"a dog runs", {}}}}, {"video1", 2, {{"a cat sits", {}}}}});
  f.folder.write(
      "V2C_caption.json",
      R"({"0":[{"caption":"a dog runs","final_caption":["a","dog","runs"],"intention":[["to play",["to","play"]]]}],
                     "Video1.MP4":[{"caption":"the cat","final_caption":["the","cat"],"intention":[["x",["to","rest"]],["",[]]]}],
                     "2":[{"final_caption":["x"]}]})");
  const TrainingSet set(f.config, f.folder.path());
  CHECK(set.training().annotations(0) == 2);
  CHECK(set.config().model.subdecoders == std::vector<std::string>{"intention"});
  check_contains(f.report(),
                 "V2C_caption.json: V2C's annotations of 2 clips; 1 captions matched, 1 not in "
                 "videodatainfo.json added; 2 ids read as others (0 is video0); 1 clip not in this data set "
                 "(2); 1 annotations without words dropped");
}

TEST_CASE("a vocabulary of no words is refused", "[data_check]") {
  std::vector<SmallClip> all = clips();
  all[1].captions[0].aspects[0] = {"rest"};  // no commonsense word occurs twice, and "a" three times
  const Fixture f(all);
  check_contains(f.error({"train.min_count=1000"}),
                 "train.min_count: no caption word occurs more than 1000 times");
  check_contains(f.error({"train.min_count=2"}),
                 "train.min_count: no commonsense word occurs more than 2 times");
  CHECK(f.error({"train.min_count=2", "model.subdecoders=[]"}).empty());
  const auto info =
      f.folder.write("other.json", R"({"ix_to_word":{"0":"<PAD>","1":"<UNK>","2":"<sos>","3":"<eos>"}})");
  check_contains(
      f.error({concat_text("data.caption_vocabulary=", info.string())}),
      "data.caption_vocabulary: " + info.string() + ": none of the 8 caption words of the split \"train\"");
  f.folder.write("other.json",
                 R"({"ix_to_word":{"0":"<PAD>","1":"<UNK>","2":"<sos>","3":"<eos>","4":"hund"}})");
  check_contains(f.error({concat_text("data.commonsense_vocabulary=", info.string())}), "none of the ");
}

TEST_CASE("clips without a file are all named at once, with the places", "[data_check]") {
  const Fixture f;
  std::filesystem::remove(f.folder.path() / "features/second.npy");
  std::filesystem::remove(f.folder.path() / "features/held.npy");
  const std::string error = f.error();
  check_contains(error,
                 "no video, frame folder or .npy of 2 clips of the splits train and validate: second, held "
                 "(looked in ");
  check_contains(error, "features/");
  check_contains(f.error({"data.eval_split=train"}), "of 1 clip of the splits train: second");
  std::vector<SmallClip> many;
  for (int i = 0; i < 30; ++i) many.push_back({concat_text("clip", 10 + i), 2, {{"a dog", {}}}});
  const Fixture g(many);
  for (int i = 0; i < 25; ++i)
    std::filesystem::remove(g.folder.path() / concat_text("features/clip", 10 + i, ".npy"));
  try {
    TrainingSet(g.config, g.folder.path());
    CHECK(false);
  } catch (const MissingClips& missing) {
    check_contains(missing.what(),
                   "clip10, clip11, clip12, clip13, clip14, clip15, clip16, clip17, clip18, clip19 and 15 "
                   "more");
    CHECK(missing.ids().size() == 25);
  }
}

TEST_CASE("clips that were left out of a feature file are left out of the run", "[data_check]") {
  const Fixture f;
  const Tensor rows = Tensor::full({2, testing::kSmallFeatures}, 1.0);
  const FeatureOrigin origin{"unknown", "", "", f.config.model.frames, f.config.data.sampling};
  const auto load = [&](const std::vector<std::string>& there, const std::vector<std::string>& skipped) {
    std::map<std::string, Tensor> all;
    for (const std::string& id : there) all[id] = rows;
    write_feature_file(f.folder.path() / "f.safetensors", origin, all, skipped);
    Config config = f.with({"data.features=" + (f.folder.path() / "f.safetensors").string()});
    ClipFeatures ready = adopt_feature_files(config);
    TrainingSet set(config, f.folder.path(), std::move(ready));
    CHECK(set.features_ready());
    CHECK(set.config().encoder.origin == "unknown");
    std::string text;
    for (const std::string& line : set.report()) text += line + "\n";
    return std::pair(set.training().size(), text);
  };
  CHECK(load({"first", "second", "held"}, {}).first == 2);
  const auto [left, said] = load({"first", "held"}, {"second", "another"});
  CHECK(left == 1);
  check_contains(said, "1 clip left out by `features --keep-going`, and here: second");
  const auto refused = [&](const std::vector<std::string>& there, const std::vector<std::string>& skipped) {
    return message_of<InputError>([&] { load(there, skipped); });
  };
  check_contains(refused({"first"}, {"held"}),
                 "no features of 1 clip of the splits train and validate: second");
  check_contains(refused({"held"}, {"first", "second"}), "every clip of the split \"train\" was left out");
}

TEST_CASE("features of an unknown encoder are recorded as that", "[data_check]") {
  const Fixture f;
  const TrainingSet set(f.config, f.folder.path());
  CHECK(set.config().encoder.origin == "unknown");
  CHECK(set.features_ready());
  check_contains(f.report(), "nothing says which encoder made them: unknown");
  // Not beside clips that an encoder has to look at.
  std::filesystem::rename(f.folder.path() / "features/second.npy", f.folder.path() / "features/second.mp4");
  check_contains(
      f.error(),
      "first.npy: features of an unknown encoder, but 1 clip of the same splits have to be encoded");
  check_contains(f.error({"train.train_encoder=true"}), "which train.train_encoder needs");
  const TrainingSet named(f.with({"encoder.weights=clip.pt"}), f.folder.path());
  CHECK(named.config().encoder.origin.empty());
  CHECK(!named.features_ready());
}

TEST_CASE("features that are not finite are found before step 1", "[data_check]") {
  const Fixture f;
  std::vector<float> values = testing::small_features(clips()[2]);
  values.back() = std::numeric_limits<float>::quiet_NaN();
  const auto odd =
      f.folder.write("features/held.npy", testing::npy_bytes(values, 4, testing::kSmallFeatures));
  TrainingSet set(f.config, f.folder.path());
  Generator generator(1);
  const auto encoder = make_image_encoder(set.config(), generator, false);
  const FeatureExtractor extractor(*encoder, set.config(), "");
  check_contains(message_of<InputError>([&] { set.check_features(extractor, {}); }),
                 odd.string() + ": row 3, column 19 holds ");
  check_contains(message_of<InputError>([&] { set.load(f.config, extractor, false, {}); }), "row 3");
}

}  // namespace clipcap
