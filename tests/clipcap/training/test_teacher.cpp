// The distillation's teacher: every caption its own feature, in batches as one at a time, once encoded
// from the disk.
#include "clipcap/training/teacher.h"

#include <fstream>

#include "tests/clipcap/training/small_data.h"

namespace clipcap {
namespace {

using testing::max_error;

// Captions of very different lengths, more than a batch of the tower and, with `shards`, more than a shard.
std::vector<testing::SmallClip> many_captions(int count) {
  std::vector<testing::SmallClip> clips;
  for (int i = 0; i < 3; ++i) {
    testing::SmallClip clip{"clip" + std::to_string(i), 2, {}};
    for (int j = i; j < count; j += 3) {
      std::string text = "word" + std::to_string(j % 101) + " word" + std::to_string(j % 17);
      for (int more = 0; more < j % 9; ++more) text += " and" + std::to_string(more % 4);
      clip.captions.push_back({text, {}});
    }
    clips.push_back(clip);
  }
  return clips;
}

struct Fixture {
  TemporaryFolder folder{"teacher" + std::to_string(number())};
  Config config = testing::small_training_config();
  Vocabularies vocabularies;
  CaptionedClips clips;
  explicit Fixture(int captions, const std::vector<std::string>& settings = {}) {
    for (const std::string& setting : settings) set_config_key(config, setting);
    rewrite(many_captions(captions));
    ::setenv("CLIPCAP_CACHE", (folder.path() / "cache").c_str(), 1);
  }
  static int number() {
    static int next = 0;
    return next++;
  }
  ~Fixture() { ::unsetenv("CLIPCAP_CACHE"); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;
  void rewrite(const std::vector<testing::SmallClip>& data) {
    testing::write_small_data(folder, data);
    const Dataset dataset = read_dataset(folder.path(), {});
    vocabularies = make_vocabularies(dataset, config);
    clips = CaptionedClips(dataset, "train", vocabularies, config.model);
  }
  // How many captions had to be encoded.
  size_t load(TeacherFeatures& features, bool cache = true) const {
    size_t encoded = 0;
    features =
        TeacherFeatures::load(Teacher(config, vocabularies), clips, cache, [&](size_t done, size_t all) {
          CHECK(done <= all);
          encoded += done % TeacherFeatures::kCaptionsAShard == 0 ? TeacherFeatures::kCaptionsAShard
                                                                  : done % TeacherFeatures::kCaptionsAShard;
        });
    return encoded;
  }
  [[nodiscard]] std::vector<std::filesystem::path> cached() const {
    std::vector<std::filesystem::path> files;
    if (!std::filesystem::exists(folder.path() / "cache")) return files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path() / "cache")) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }
};

std::vector<std::vector<float>> all_rows(const TeacherFeatures& features, size_t count) {
  std::vector<std::vector<float>> rows;
  for (size_t c = 0; c < count; ++c) rows.push_back(features.rows(c).to_vector<float>());
  return rows;
}

}  // namespace

TEST_CASE("every caption has its own feature; a batch gives what one at a time gives", "[teacher]") {
  for (const char* target : {"pooled", "tokens"}) {
    INFO(target);
    const Fixture f(200, {std::string("loss.distill_target=") + target});
    const Teacher teacher(f.config, f.vocabularies);
    TeacherFeatures features;
    CHECK(f.load(features, false) == 200);
    REQUIRE(f.clips.captions() == 200);
    for (size_t c = 0; c < 200; ++c) {
      const std::vector<int32_t> ids = teacher.tokens(f.clips.text(c), f.clips.ids(c));
      CHECK(ids == std::vector<int32_t>(f.clips.ids(c).begin(), f.clips.ids(c).end()));
      const Tensor alone = teacher.encode({ids});
      REQUIRE(features.rows(c).shape() == alone.shape());
      CHECK(alone.dim(0) == (teacher.pooled() ? 1 : static_cast<int64_t>(ids.size())));
      CHECK(max_error(features.rows(c).to_vector<float>(), alone.to_vector<float>()) < 1e-5);
      // Another caption's feature is another one.
      const size_t other = (c + 1) % 200;
      if (!std::ranges::equal(f.clips.ids(c), f.clips.ids(other))) {
        const int64_t last = features.rows(c).dim(0) - 1;
        const int64_t other_last = features.rows(other).dim(0) - 1;
        CHECK(max_error(features.rows(c).slice(0, last, 1).to_vector<float>(),
                        features.rows(other).slice(0, other_last, 1).to_vector<float>()) > 1e-3);
      }
    }
    CHECK(f.cached().empty());
  }
}

TEST_CASE("pooled features are those of the end token", "[teacher]") {
  const Fixture pooled(20);
  const Fixture tokens(20, {"loss.distill_target=tokens"});
  TeacherFeatures one;
  TeacherFeatures each;
  CHECK(pooled.load(one, false) == 20);
  CHECK(tokens.load(each, false) == 20);
  for (size_t c = 0; c < 20; ++c) {
    const Tensor all = each.rows(c);
    CHECK(max_error(one.rows(c).to_vector<float>(), all.slice(0, all.dim(0) - 1, 1).to_vector<float>()) <
          1e-5);
  }
}

TEST_CASE("a batch's teacher rows follow its captions; token features are resampled to the frames",
          "[teacher]") {
  const Fixture pooled(30);
  TeacherFeatures features;
  static_cast<void>(pooled.load(features, false));
  const std::vector<size_t> wanted{7, 0, 29, 7};
  const Tensor batch = features.batch(wanted, {1, 2, 3, 2}, 3);
  REQUIRE(batch.shape() == Shape{4, testing::kSmallFeatures});
  for (size_t b = 0; b < wanted.size(); ++b) {
    CHECK(batch.slice(0, static_cast<int64_t>(b), 1).to_vector<float>() ==
          features.rows(wanted[b]).to_vector<float>());
  }

  const Fixture tokens(30, {"loss.distill_target=tokens"});
  TeacherFeatures each;
  static_cast<void>(tokens.load(each, false));
  const auto length = static_cast<int32_t>(each.rows(5).dim(0));
  const std::vector<size_t> five{5, 5, 5};
  const Tensor rows = each.batch(five, {length, 1, 2}, length + 1);
  REQUIRE(rows.shape() == Shape{3, length + 1, testing::kSmallFeatures});
  const std::vector<float> own = each.rows(5).to_vector<float>();
  const auto dim = static_cast<size_t>(testing::kSmallFeatures);
  const auto row = [&](int64_t b, int64_t i) {
    return rows.slice(0, b, 1).slice(1, i, 1).to_vector<float>();
  };
  for (int32_t i = 0; i < length; ++i) {  // as many frames as tokens: the rows themselves
    CHECK(max_error(row(0, i), std::vector<float>(own.begin() + i * static_cast<int32_t>(dim),
                                                  own.begin() + (i + 1) * static_cast<int32_t>(dim))) < 1e-6);
  }
  for (const auto& [b, i] : {std::pair<int64_t, int64_t>{0, length}, {1, 1}, {2, 2}}) {  // past the frames
    for (const float value : row(b, i)) CHECK(value == 0.0F);
  }
  // One frame: the middle of the tokens. Two: a quarter and three quarters of the way.
  const auto at = [&](double place) {
    std::vector<float> values(dim);
    const auto low = static_cast<size_t>(place);
    const size_t high = std::min(low + 1, static_cast<size_t>(length) - 1);
    for (size_t d = 0; d < dim; ++d) {
      values[d] = static_cast<float>(own[low * dim + d] + (place - static_cast<double>(low)) *
                                                              (own[high * dim + d] - own[low * dim + d]));
    }
    return values;
  };
  CHECK(max_error(row(1, 0), at(0.5 * length - 0.5)) < 1e-5);
  CHECK(max_error(row(2, 0), at(0.25 * length - 0.5)) < 1e-5);
  CHECK(max_error(row(2, 1), at(0.75 * length - 0.5)) < 1e-5);
}

TEST_CASE("features are kept on disk by tower and text, in shards that a killed run finds again",
          "[teacher]") {
  for (const char* target : {"pooled", "tokens"}) {
    INFO(target);
    Fixture f(1300, {std::string("loss.distill_target=") + target});
    TeacherFeatures features;
    CHECK(f.load(features) == 1300);
    const auto first = all_rows(features, 1300);
    const std::vector<std::filesystem::path> files = f.cached();
    REQUIRE(files.size() == 2);
    CHECK(f.load(features) == 0);
    CHECK(all_rows(features, 1300) == first);

    // Killed before the second shard was written; a damaged file; both are made again, with the same bits.
    for (const std::filesystem::path& file : files) {
      const bool large = std::filesystem::file_size(file) ==
                         std::max(std::filesystem::file_size(files[0]), std::filesystem::file_size(files[1]));
      std::filesystem::remove(file);
      CHECK(f.load(features) == (large ? 1024 : 276));
      CHECK(all_rows(features, 1300) == first);
      std::string bytes = file_bytes(file);
      bytes[bytes.size() - 5] = static_cast<char>(bytes[bytes.size() - 5] ^ 0x40);
      std::ofstream(file, std::ios::binary) << bytes;
      CHECK(f.load(features) == (large ? 1024 : 276));
      CHECK(all_rows(features, 1300) == first);
    }

    // Another tower, other texts.
    Fixture other(1300, {std::string("loss.distill_target=") + target, "train.seed=5"});
    ::setenv("CLIPCAP_CACHE", (f.folder.path() / "cache").c_str(), 1);
    CHECK(other.load(features) == 1300);
    CHECK(all_rows(features, 1300) != first);
    auto changed = many_captions(1300);
    std::string& text = changed[2].captions[400].text;  // the same words and length in another order
    const size_t first_space = text.find(' ');
    const size_t second_space = std::min(text.find(' ', first_space + 1), text.size());
    text = text.substr(first_space + 1, second_space - first_space - 1) + " " + text.substr(0, first_space) +
           text.substr(second_space);
    CHECK(text != many_captions(1300)[2].captions[400].text);
    f.rewrite(changed);
    CHECK(f.load(features) == 276);  // it is in the second shard
  }
}

TEST_CASE("without a place for the cache features are encoded all the same", "[teacher]") {
  const Fixture f(10);
  TeacherFeatures features;
  ::setenv("CLIPCAP_CACHE", "/proc/nowhere", 1);
  CHECK(f.load(features) == 10);
  CHECK(f.load(features) == 10);
  CHECK(features.rows(9).shape() == Shape{1, testing::kSmallFeatures});
}

}  // namespace clipcap
