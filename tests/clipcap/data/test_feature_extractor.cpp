// From a clip on the disk to its features: which frames, and what the cache may and may not give back.
#include "clipcap/data/feature_extractor.h"

#include <limits>

#include "clipcap/encoders/encoder_file.h"
#include "clipcap/media/video_writer.h"
#include "tests/clipcap/training/small_data.h"
#include "tests/error_message.h"

namespace clipcap {
namespace {

// 16 frames, each of a brightness of its own.
void write_clip(const std::filesystem::path& path, int first = 0) {
  std::vector<Image> frames;
  for (int i = 0; i < 16; ++i) {
    const auto level = static_cast<uint8_t>((first + 15 * i) % 256);
    frames.push_back({48, 32, std::vector<uint8_t>(48 * 32 * 3, level)});
  }
  write_video(path, frames, {});
}

struct Fixture {
  TemporaryFolder folder{"feature_extractor"};
  Config config = testing::small_training_config();
  std::unique_ptr<ImageEncoder> encoder;
  Fixture() {
    ::setenv("CLIPCAP_CACHE", (folder.path() / "cache").c_str(), 1);
    write_clip(folder.path() / "clip.mp4");
    Generator generator(1);
    encoder = make_image_encoder(config, generator, false);
  }
  ~Fixture() { ::unsetenv("CLIPCAP_CACHE"); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;
  // Features of the clip as a program with this configuration and this name of its encoder gives them.
  [[nodiscard]] std::vector<float> features(const std::vector<std::string>& settings = {},
                                            const std::string& name = "encoder") const {
    Config own = config;
    for (const std::string& setting : settings) set_config_key(own, setting);
    return FeatureExtractor(*encoder, own, name).features(folder.path() / "clip.mp4").to_vector<float>();
  }
};

}  // namespace

TEST_CASE("features are the encoder's of the chosen frames", "[feature_extractor]") {
  const Fixture f;
  const FeatureExtractor extractor(*f.encoder, f.config, "");
  const Tensor frames = extractor.frames(f.folder.path() / "clip.mp4");
  REQUIRE(frames.shape() == Shape{5, 3, 32, 32});
  const Tensor features = extractor.features(f.folder.path() / "clip.mp4");
  REQUIRE(features.shape() == Shape{5, testing::kSmallFeatures});
  CHECK(features.to_vector<float>() == f.encoder->encode(frames).to_vector<float>());
  // Frames 1, 4, 8, 11 and 14 of 16: the middles of five spans; the clip grows brighter by 15 of 255 a frame.
  const auto level = [&](const Tensor& all, int64_t i) {
    return static_cast<double>(all.slice(0, i, 1).to_vector<float>()[0]);
  };
  const double step = 15.0 / 255.0 / 0.26862954;  // CLIP's deviation of red
  const std::vector<int> middles{1, 4, 8, 11, 14};
  for (int64_t i = 1; i < 5; ++i) {
    const int apart = middles[static_cast<size_t>(i)] - middles[0];
    CHECK(level(frames, i) - level(frames, 0) == Approx(step * apart).margin(0.08));
  }
  Config linspace = f.config;
  linspace.data.sampling = "linspace";  // 0, 4, 8, 11, 15
  const Tensor ends = FeatureExtractor(*f.encoder, linspace, "").frames(f.folder.path() / "clip.mp4");
  CHECK(level(ends, 4) - level(ends, 0) == Approx(step * 15).margin(0.08));
}

TEST_CASE("the cache gives back what the same encoder made of the same frames, and nothing else",
          "[feature_extractor]") {
  const Fixture f;
  const std::vector<float> first = f.features();
  // What lies in the cache is used: an encoder of other weights under the same name is never asked.
  Generator generator(2);
  const auto other = make_image_encoder(f.config, generator, false);
  const std::filesystem::path clip = f.folder.path() / "clip.mp4";
  CHECK(FeatureExtractor(*other, f.config, "encoder").features(clip).to_vector<float>() == first);
  CHECK(FeatureExtractor(*other, f.config, "other").features(clip).to_vector<float>() != first);
  CHECK(FeatureExtractor(*other, f.config, "").features(clip).to_vector<float>() != first);
  // Another number of frames, another rule, another clip: other features.
  CHECK(f.features({"model.frames=3"}).size() == 3 * testing::kSmallFeatures);
  CHECK(f.features({"data.sampling=linspace"}) != first);
  CHECK(f.features() == first);
  write_clip(clip, 90);
  CHECK(f.features() != first);
}

TEST_CASE("a .npy's rows are its features, chosen as frames are where there are more than model.frames",
          "[feature_extractor]") {
  const Fixture f;
  const testing::SmallClip clip{"clip", 7, {}};
  const std::vector<float> values = testing::small_features(clip);
  const auto path = f.folder.write("clip.npy", testing::npy_bytes(values, 7, testing::kSmallFeatures));
  const FeatureExtractor extractor(*f.encoder, f.config, "encoder");
  const Tensor features = extractor.features(path);
  REQUIRE(features.shape() == Shape{5, testing::kSmallFeatures});
  const auto rows = [&](const std::vector<int64_t>& chosen) {
    std::vector<float> result;
    for (const int64_t row : chosen)
      result.insert(result.end(), values.begin() + row * testing::kSmallFeatures,
                    values.begin() + (row + 1) * testing::kSmallFeatures);
    return result;
  };
  CHECK(features.to_vector<float>() == rows({0, 2, 3, 4, 6}));  // the middles of five spans of seven
  Config linspace = f.config;
  linspace.data.sampling = "linspace";
  CHECK(FeatureExtractor(*f.encoder, linspace, "").features(path).to_vector<float>() ==
        rows({0, 2, 3, 4, 6}));
  linspace.model.frames = 2;
  CHECK(FeatureExtractor(*f.encoder, linspace, "").features(path).to_vector<float>() == rows({0, 6}));
  linspace.data.sampling = "middles";
  CHECK(FeatureExtractor(*f.encoder, linspace, "").features(path).to_vector<float>() == rows({1, 5}));
  const auto wrong = f.folder.write("wrong.npy", testing::npy_bytes(values, 10, 14));
  CHECK(message_of<InputError>([&] { static_cast<void>(extractor.features(wrong)); }) ==
        wrong.string() + ": f32 [10, 14] is not features [n, 20]");
  const auto empty = f.folder.write("empty.npy", testing::npy_bytes({}, 0, testing::kSmallFeatures));
  CHECK_THROWS_AS(extractor.features(empty), InputError);
}

TEST_CASE("features that are not finite are refused with file and row, whatever row is taken",
          "[feature_extractor]") {
  const Fixture f;
  const FeatureExtractor extractor(*f.encoder, f.config, "encoder");
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const int64_t row : {0, 3, 5, 6}) {  // 5 is not among the rows that are taken
      std::vector<float> values = testing::small_features({"clip", 7, {}});
      values[static_cast<size_t>((row + 1) * testing::kSmallFeatures - 1)] = odd;
      const auto path = f.folder.write("Odd.NPY", testing::npy_bytes(values, 7, testing::kSmallFeatures));
      INFO(odd << " in row " << row);
      CHECK(contains(message_of<InputError>([&] { static_cast<void>(extractor.features(path)); }),
                     path.string() + concat_text(": row ", row, ", column 19 holds ")));
    }
  }
  // An encoder whose weights are not finite makes no features.
  nn::parameters(*f.encoder)[0].variable.value().host<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(contains(message_of<InputError>([&] {
                   static_cast<void>(
                       FeatureExtractor(*f.encoder, f.config, "").features(f.folder.path() / "clip.mp4"));
                 }),
                 "clip.mp4: the encoder's features: row 0"));
}

TEST_CASE("pictures where there is no encoder are refused with what to pass", "[feature_extractor]") {
  const Fixture f;
  Config unknown = f.config;
  unknown.encoder.origin = "unknown";
  Generator generator(1);
  const auto none = make_image_encoder(unknown, generator, false);
  CHECK(none->feature_dim() == testing::kSmallFeatures);
  CHECK(!none->encodes());
  const FeatureExtractor extractor(*none, unknown, "encoder");
  CHECK(contains(
      message_of<InputError>([&] { static_cast<void>(extractor.features(f.folder.path() / "clip.mp4")); }),
      "clip.mp4: the model learnt from features of an unknown encoder"));
  const auto path = f.folder.write(
      "clip.npy", testing::npy_bytes(testing::small_features({"clip", 3, {}}), 3, testing::kSmallFeatures));
  CHECK(extractor.features(path).dim(0) == 3);
}

TEST_CASE("clips encoded in order are what they are one by one, and an error is that clip's alone",
          "[feature_extractor]") {
  const Fixture f;
  std::vector<std::filesystem::path> clips;
  for (int i = 0; i < 12; ++i) {
    clips.push_back(f.folder.path() / concat_text("clip", i, ".mp4"));
    if (i == 5) {
      f.folder.write("clip5.mp4", "no video");
    } else {
      write_clip(clips.back(), 20 * i);
    }
  }
  for (const char* cached : {"", "encoder", "encoder"}) {
    const FeatureExtractor extractor(*f.encoder, f.config, cached);
    size_t next = 0;
    size_t errors = 0;
    extractor.features_in_order(
        clips.size(), [&](size_t i) { return clips[i]; },
        [&](size_t i, Tensor&& features, const std::exception_ptr& error) {
          CHECK(i == next++);
          if (error) {
            CHECK(i == 5);
            ++errors;
            CHECK_THROWS_AS(std::rethrow_exception(error), InputError);
            return;
          }
          CHECK(features.to_vector<float>() ==
                FeatureExtractor(*f.encoder, f.config, "").features(clips[i]).to_vector<float>());
        });
    CHECK(next == clips.size());
    CHECK(errors == 1);
  }
  // What the receiver throws ends it, with clips still being read.
  const FeatureExtractor extractor(*f.encoder, f.config, "");
  CHECK_THROWS_AS(extractor.features_in_order(
                      clips.size(), [&](size_t i) { return clips[i]; },
                      [](size_t i, Tensor&&, const std::exception_ptr&) {
                        if (i == 2) throw Error("enough");
                      }),
                  Error);
  extractor.features_in_order(
      0, [&](size_t i) { return clips[i]; },
      [](size_t, Tensor&&, const std::exception_ptr&) { CHECK(false); });
}

}  // namespace clipcap
