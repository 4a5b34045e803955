// The cache between runs: where it is, what it remembers of a file, and never an answer for another one.
#include <chrono>
#include <cstdlib>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/cache/sha256.h"
#include "clipcap/data/feature_cache.h"
#include "clipcap/data/feature_extractor.h"
#include "clipcap/data/feature_file.h"
#include "clipcap/encoders/towers.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

using namespace clipcap;
using testing::difference;

namespace {

// Environment variables as they were before, at the end.
class Environment {
 public:
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value.empty()) {
        ::unsetenv(name.c_str());
      } else {
        ::setenv(name.c_str(), value.c_str(), 1);
      }
    }
  }
  void set(const std::string& name, const std::string& value) {
    const char* now = std::getenv(name.c_str());
    before_.emplace(name, now != nullptr ? now : "");
    ::setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::string> before_;
};

std::string sha256(const std::string& text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

}  // namespace

TEST_CASE("cache: its folder is the most particular one that is named", "[cache]") {
  Environment environment;
  environment.set("CLIPCAP_CACHE", "/a");
  environment.set("XDG_CACHE_HOME", "/b");
  environment.set("HOME", "/c");
  CHECK(cache_folder() == "/a");
  environment.set("CLIPCAP_CACHE", "");
  CHECK(cache_folder() == "/b/clipcap");
  environment.set("XDG_CACHE_HOME", "");
  CHECK(cache_folder() == "/c/.cache/clipcap");
  environment.set("HOME", "");
  CHECK(cache_folder().empty());
}

TEST_CASE("cache: a remembered hash holds for that file as it was", "[cache]") {
  const TemporaryFolder folder("cache_hashes");
  Environment environment;
  environment.set("CLIPCAP_CACHE", (folder.path() / "cache").string());
  const auto file = folder.write("file", "first");
  const auto other = folder.write("other", "other");
  const auto times = std::filesystem::last_write_time(file);
  CHECK(remembered_sha256(file) == sha256("first"));
  CHECK(remembered_sha256(file) == sha256("first"));
  CHECK(remembered_sha256(other) == sha256("other"));
  // Another content of the same size, changed at another time.
  folder.write("file", "again");
  std::filesystem::last_write_time(file, times + std::chrono::seconds(5));
  CHECK(remembered_sha256(file) == sha256("again"));
  // Another size at the same time.
  folder.write("file", "longer than before");
  std::filesystem::last_write_time(file, times + std::chrono::seconds(5));
  CHECK(remembered_sha256(file) == sha256("longer than before"));
  // It is remembered at all: with size and time kept, the content is not read again.
  folder.write("file", "LONGER THAN BEFORE");
  std::filesystem::last_write_time(file, times + std::chrono::seconds(5));
  CHECK(remembered_sha256(file) == sha256("longer than before"));
  // A damaged note is no answer.
  for (const auto& note : std::filesystem::directory_iterator(folder.path() / "cache" / "hashes")) {
    const std::string text = file_bytes(note.path());
    std::ofstream(note.path(), std::ios::binary) << text.substr(0, text.size() - 1);
  }
  CHECK(remembered_sha256(file) == sha256("LONGER THAN BEFORE"));
  // Without a folder nothing is remembered, and the answer is right all the same.
  for (const char* name : {"CLIPCAP_CACHE", "XDG_CACHE_HOME", "HOME"}) environment.set(name, "");
  CHECK(remembered_sha256(other) == sha256("other"));
}

TEST_CASE("cache: features are kept for one clip, encoder, number of frames and sampling", "[cache]") {
  const TemporaryFolder folder("cache_features");
  Environment environment;
  environment.set("CLIPCAP_CACHE", (folder.path() / "cache").string());
  const auto clip = folder.write("clips/a.bin", "one clip");
  const auto copy = folder.write("clips/b.bin", "one clip");
  const auto other = folder.write("clips/c.bin", "another clip");
  const std::string key = feature_cache_key(clip, "encoder 1");
  CHECK(key == feature_cache_key(copy, "encoder 1"));  // by content
  CHECK(key != feature_cache_key(other, "encoder 1"));
  CHECK(key != feature_cache_key(clip, "encoder 2"));
  // A folder of frames: their order and names count.
  folder.write("frames1/1.png", "x");
  folder.write("frames1/2.png", "y");
  folder.write("frames2/1.png", "y");
  folder.write("frames2/2.png", "x");
  CHECK(feature_cache_key(folder.path() / "frames1", "e") !=
        feature_cache_key(folder.path() / "frames2", "e"));

  // From the extractor: whatever changes the features changes the key.
  const auto picture = testing::golden_path("pictures") / "0-rgb.png";
  Config config = load_config("clips");
  config.model.frames = 3;
  Generator generator(1);
  const VitGeometry geometry{16, 8, 8, 1, 2, 6};
  const VisionTower tower(geometry, Activation::quick_gelu, generator);
  const VisionTower another(geometry, Activation::quick_gelu, generator);
  const auto entries = [&] {
    size_t count = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "cache" / "features", error))
      count += entry.is_regular_file() ? 1 : 0;
    return count;
  };
  const Tensor fresh = FeatureExtractor(tower, config, "tower").features(picture);
  CHECK(entries() == 1);
  CHECK(difference(FeatureExtractor(tower, config, "tower").features(picture), fresh).error == 0.0);
  CHECK(entries() == 1);
  // The cache answers: a tower with other weights under the same name gives what the first one gave.
  CHECK(difference(FeatureExtractor(another, config, "tower").features(picture), fresh).error == 0.0);
  CHECK(difference(FeatureExtractor(another, config, "another").features(picture), fresh) > 1e-3);
  CHECK(entries() == 2);
  config.model.frames = 4;
  (void)FeatureExtractor(tower, config, "tower").features(picture);
  CHECK(entries() == 3);
  config.data.sampling = config.data.sampling == "middles" ? "linspace" : "middles";
  (void)FeatureExtractor(tower, config, "tower").features(picture);
  CHECK(entries() == 4);
  (void)FeatureExtractor(tower, config, "").features(picture);  // not to be cached
  CHECK(entries() == 4);
}

TEST_CASE("feature files: what they say of their origin decides what they go with", "[cache]") {
  const TemporaryFolder folder("feature_files");
  const auto file = [&](const std::string& name, const std::string& clip, const FeatureOrigin& origin) {
    write_feature_file(folder.path() / name, origin,
                       {{clip, Tensor::from(testing::random_values<float>(12, 3), {3, 4})}});
    return (folder.path() / name).string();
  };
  const FeatureOrigin origin{
      "vit.pt", std::string(64, 'a'), "gelu", 5, "middles", R"({"activation":"gelu","heads":8})"};
  const std::string a = file("a", "video1", origin);
  const std::string b = file("b", "video2", origin);
  const FeatureFile read = FeatureFile::open(a);
  CHECK(read.origin().same_features(origin));
  CHECK(read.origin().encoder == "vit.pt");
  CHECK(read.origin().frames == 5);
  CHECK(read.rows(read.find("video1").value()).shape() == Shape{3, 4});

  const auto configured = [&](const std::string& files) {
    Config config = load_config("clips");
    config.model.frames = 5;
    config.data.sampling = "middles";
    config.data.features = files;
    return config;
  };
  Config both = configured(a + "," + b);
  const ClipFeatures clips = adopt_feature_files(both);
  CHECK(clips.find("video1").has_value());
  CHECK(clips.find("video2").has_value());
  CHECK(!clips.find("video3"));
  CHECK(both.encoder.weights == "vit.pt");
  CHECK(both.encoder.activation == "gelu");
  CHECK(both.encoder.sha256 == origin.sha256);
  CHECK(both.encoder.settings == origin.settings);

  const auto refused = [&](const Config& config) {
    Config copy = config;
    return message_of<InputError>([&] { (void)adopt_feature_files(copy); });
  };
  FeatureOrigin odd = origin;
  odd.sha256 = std::string(64, 'b');
  CHECK(refused(configured(a + "," + file("c", "video3", odd))).find("the files before it with") !=
        std::string::npos);
  odd = origin;
  odd.activation = "quick_gelu";
  CHECK_FALSE(refused(configured(a + "," + file("d", "video3", odd))).empty());
  odd = origin;
  odd.settings = R"({"activation":"gelu","heads":4})";
  CHECK_FALSE(refused(configured(a + "," + file("g", "video3", odd))).empty());
  odd.settings.clear();  // a file of before
  CHECK(refused(configured(a + "," + file("h", "video3", odd))).empty());
  odd = origin;
  odd.frames = 6;
  CHECK_FALSE(refused(configured(a + "," + file("e", "video3", odd))).empty());
  odd = origin;
  odd.sampling = "linspace";
  CHECK_FALSE(refused(configured(a + "," + file("f", "video3", odd))).empty());
  Config config = configured(a);
  config.model.frames = 6;
  CHECK(refused(config).find("model.frames 6") != std::string::npos);
  config = configured(a);
  config.data.sampling = "linspace";
  CHECK_FALSE(refused(config).empty());
  config = configured(a);
  config.encoder.sha256 = std::string(64, 'c');
  CHECK(refused(config).find("encoder.sha256 is") != std::string::npos);
  config = configured(a);
  config.train.train_encoder = true;
  CHECK_FALSE(refused(config).empty());
}

TEST_CASE("cache: a note that cannot be read is no note", "[cache]") {
  const TemporaryFolder folder("cache_notes");
  Environment environment;
  environment.set("CLIPCAP_CACHE", (folder.path() / "cache").string());
  const auto file = folder.write("weights.pt", "content");
  CHECK(remembered_sha256(file) == sha256("content"));
  std::filesystem::path note;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "cache/hashes"))
    note = entry.path();
  REQUIRE_FALSE(note.empty());
  folder.write("cache/hashes/" + note.filename().string(), std::string(5000, 'x'));  // longer than any note
  CHECK(remembered_sha256(file) == sha256("content"));
  std::filesystem::remove(note);
  std::filesystem::create_directories(note / "a folder");
  CHECK(remembered_sha256(file) == sha256("content"));
}

TEST_CASE("cache: sizes as people write them", "[cache]") {
  CHECK(parse_size("4096", "x") == 4096);
  CHECK(parse_size("0", "x") == 0);
  CHECK(parse_size("20G", "x") == 20ULL << 30U);
  CHECK(parse_size("1.5k", "x") == 1536);
  CHECK(parse_size("3 MiB", "x") == 3ULL << 20U);
  CHECK(parse_size("2TB", "x") == 2ULL << 40U);
  CHECK(parse_size("7 bytes", "x") == 7);
  for (const char* wrong : {"", "G", "-1", "3X", "nan", "inf", "1e300", "12 apples"}) {
    INFO(wrong);
    CHECK(
        message_of<InputError>([&] { static_cast<void>(parse_size(wrong, "here")); }).starts_with("here: "));
  }
  CHECK(show_size(12) == "12 bytes");
  CHECK(show_size(1536) == "1.5 KiB");
  CHECK(show_size(20ULL << 30U) == "20 GiB");
}

TEST_CASE("cache: it stays below its limit, and what was used longest ago goes", "[cache]") {
  const TemporaryFolder folder("cache_limit");
  Environment environment;
  environment.set("CLIPCAP_CACHE", folder.path().string());
  environment.set("CLIPCAP_CACHE_SIZE", "");
  CHECK(cache_limit().bytes == kUsualCacheLimit);
  set_cache_limit(12345);
  CHECK(cache_limit().bytes == 12345);
  CHECK(cache_limit().source == (folder.path() / "limit").string());
  environment.set("CLIPCAP_CACHE_SIZE", "lots");
  CHECK(message_of<InputError>([] { static_cast<void>(cache_limit()); }).starts_with("CLIPCAP_CACHE_SIZE: "));
  environment.set("CLIPCAP_CACHE_SIZE", "100K");
  CHECK(cache_limit().bytes == 100 * 1024);
  const Tensor features = Tensor::zeros({10, 256});  // 10 KiB and a header
  const auto key = [](int i) { return "clip" + std::to_string(i); };
  const auto there = [&](int i) { return map_cached_features(key(i)).defined(); };
  const auto made_before = [&](int i, int seconds) {
    const auto path = folder.path() / "features" / (key(i) + ".safetensors");
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() - std::chrono::seconds(seconds));
  };
  for (int i = 0; i < 9; ++i) {
    CHECK(store_cached_features(key(i), features));
    made_before(i, 1000 - i);
  }
  CHECK(measure_cache().files == 9);
  CHECK(there(0));  // used now: it is the youngest from here on
  CHECK(store_cached_features(key(9), features));
  CHECK(measure_cache().bytes <= 100 * 1024);
  CHECK(measure_cache().files == 8);
  CHECK(there(0));
  CHECK_FALSE(there(1));
  CHECK_FALSE(there(2));
  CHECK(there(3));
  CHECK(there(9));
  // What does not fit at all is not kept, and drives nothing else out.
  CHECK_FALSE(store_cached_features("large", Tensor::zeros({100, 1000})));
  CHECK(measure_cache().files == 8);
  // Nothing but the cache's own files counts or goes.
  folder.write("features/../mine.txt", std::string(200'000, 'x'));
  std::filesystem::create_symlink(folder.path() / "mine.txt", folder.path() / "features/link.safetensors");
  CHECK(store_cached_features(key(10), features));
  CHECK(std::filesystem::exists(folder.path() / "mine.txt"));
  CHECK(measure_cache().files == 9);
  CHECK(clear_cache().files == 9);
  CHECK(measure_cache().files == 0);
  CHECK(std::filesystem::exists(folder.path() / "mine.txt"));
  environment.set("CLIPCAP_CACHE_SIZE", "0");
  CHECK_FALSE(store_cached_features(key(1), features));
}
