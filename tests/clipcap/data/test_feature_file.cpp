// Files of features: however many clips, mapped, resumed after a kill to the same bytes.
#include "clipcap/data/feature_file.h"

#include <fstream>
#include <limits>

#include "clipcap/data/feature_writer.h"
#include "tensor/io/safetensors.h"
#include "tests/compare.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

const FeatureOrigin kOrigin{"vit.pt", std::string(64, 'a'), "gelu", 5, "middles"};

std::string id_of(int clip) { return "video" + std::to_string(clip); }

Tensor features_of(int clip) {
  const int64_t rows = 1 + clip % 5;
  return Tensor::from(testing::random_values<float>(rows * 3, static_cast<uint64_t>(clip + 1)), {rows, 3});
}

std::map<std::string, Tensor> clips(int count) {
  std::map<std::string, Tensor> result;
  for (int i = 0; i < count; ++i) result[id_of(i)] = features_of(i);
  return result;
}

}  // namespace

TEST_CASE("a feature file gives back its clips by id", "[feature_file]") {
  const TemporaryFolder folder("feature_file");
  const std::filesystem::path path = folder.path() / "f.safetensors";
  const int count = GENERATE(120, 1200);  // a tensor a clip; four tensors in all
  write_feature_file(path, kOrigin, clips(count), {"gone", "\"quoted\"\n"});
  const FeatureFile file = FeatureFile::open(path);
  REQUIRE(file.size() == static_cast<size_t>(count));
  CHECK(file.feature_dim() == 3);
  CHECK(file.origin().same_features(kOrigin));
  CHECK(file.skipped() == std::vector<std::string>{"gone", "\"quoted\"\n"});
  file.check_finite();
  for (int i = 0; i < count; ++i) {
    const std::optional<size_t> at = file.find(id_of(i));
    REQUIRE(at.has_value());
    CHECK(file.id(*at) == id_of(i));
    CHECK(file.row_count(*at) == 1 + i % 5);
    CHECK(file.rows(*at).to_vector<float>() == features_of(i).to_vector<float>());
    // A view: nothing is copied.
    CHECK(file.rows(*at).host<float>() == file.rows(*at).host<float>());
  }
  for (const char* id : {"", "video", "video1200", "video00", "zebra", "gone"}) CHECK(!file.find(id));
  write_feature_file(path, kOrigin, {});
  CHECK(FeatureFile::open(path).size() == 0);
}

TEST_CASE("files of before, with a tensor a clip, are read", "[feature_file]") {
  const TemporaryFolder folder("feature_file_old");
  const std::filesystem::path path = folder.path() / "f.safetensors";
  std::map<std::string, std::string> metadata{
      {"format", "clipcap features"}, {"encoder", "vit.pt"}, {"sha256", kOrigin.sha256},
      {"activation", "gelu"},         {"frames", "5"},       {"sampling", "middles"}};
  write_safetensors(path, clips(12), metadata);
  const FeatureFile file = FeatureFile::open(path);
  CHECK(file.origin().same_features(kOrigin));
  REQUIRE(file.size() == 12);
  for (int i = 0; i < 12; ++i)
    CHECK(file.rows(file.find(id_of(i)).value()).to_vector<float>() == features_of(i).to_vector<float>());
  CHECK(!file.find("video12"));
  metadata["version"] = "3";
  write_safetensors(path, clips(12), metadata);
  CHECK(contains(message_of<InputError>([&] { static_cast<void>(FeatureFile::open(path)); }),
                 "version 3 of clipcap's feature files"));
}

TEST_CASE("damaged feature files give an error or are read", "[feature_file]") {
  const TemporaryFolder folder("feature_file_damaged");
  const std::filesystem::path path = folder.path() / "f.safetensors";
  write_feature_file(path, kOrigin, clips(GENERATE(9, 1100)), {"gone"});
  const std::string bytes = file_bytes(path);
  unsigned errors = 0;
  for (unsigned variant = 0; variant < 400; ++variant) {
    folder.write("d.safetensors", damaged(bytes, variant));
    try {
      const FeatureFile file = FeatureFile::open(folder.path() / "d.safetensors");
      for (size_t i = 0; i < file.size(); ++i) CHECK(file.rows(i).dim(0) == file.row_count(i));
      file.check_finite();
    } catch (const InputError& error) {
      ++errors;
      CHECK(contains(error.what(), "d.safetensors"));
    }
  }
  CHECK(errors > 100);
}

TEST_CASE("a number that is not finite is named by clip and row", "[feature_file]") {
  const TemporaryFolder folder("feature_file_nan");
  const std::filesystem::path path = folder.path() / "f.safetensors";
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::map<std::string, Tensor> all = clips(9);
    all["video8"] = features_of(8).clone();
    all["video8"].host<float>()[3 * 3 + 2] = odd;  // the last clip's last number but three
    write_feature_file(path, kOrigin, all);
    const FeatureFile file = FeatureFile::open(path);
    CHECK(contains(message_of<InputError>([&] { file.check_finite(); }),
                   path.string() + ": clip video8: row 3, column 2 holds "));
  }
}

TEST_CASE("a feature file in the making is gone on with after any kill, to the same bytes",
          "[feature_file]") {
  const TemporaryFolder folder("feature_writer");
  const std::filesystem::path whole = folder.path() / "whole.safetensors";
  write_feature_file(whole, kOrigin, clips(20));
  const std::string expected = file_bytes(whole);
  const std::filesystem::path out = folder.path() / "out.safetensors";
  const std::filesystem::path partial = folder.path() / "out.safetensors.partial";
  std::string rows;
  std::string lines;
  {
    FeatureWriter writer(out, kOrigin, 3);
    for (int i = 19; i >= 8; --i) writer.add(id_of(i), features_of(i));
    CHECK(!std::filesystem::exists(out));
    CHECK(contains(message_of<InputError>([&] { FeatureWriter(out, kOrigin, 3); }),
                   ": another process is writing it"));
  }
  rows = file_bytes(partial / "rows");
  lines = file_bytes(partial / "clips");
  REQUIRE(rows.size() > 100);
  // Cut anywhere: in the last lines, in the last rows, in both.
  for (const auto& [lost_lines, lost_rows, spare] : std::vector<std::array<size_t, 3>>{{0, 0, 0},
                                                                                       {1, 0, 0},
                                                                                       {30, 0, 0},
                                                                                       {100000, 0, 0},
                                                                                       {0, 4, 0},
                                                                                       {7, 50, 0},
                                                                                       {0, 0, 17},
                                                                                       {40, 0, 12},
                                                                                       {0, 100000, 0}}) {
    INFO(lost_lines << " " << lost_rows << " " << spare);
    folder.write("out.safetensors.partial/rows",
                 rows.substr(0, rows.size() - std::min(rows.size(), lost_rows)) + std::string(spare, 'x'));
    folder.write("out.safetensors.partial/clips",
                 lines.substr(0, lines.size() - std::min(lines.size(), lost_lines)));
    folder.write("out.safetensors.tmp.4999999", "killed while it wrote");  // no process has so high a number
    size_t kept = 0;
    {
      FeatureWriter writer(out, kOrigin, 3);
      for (int i = 0; i < 20; ++i) {
        kept += writer.contains(id_of(i)) ? 1 : 0;
        if (!writer.contains(id_of(i))) writer.add(id_of(i), features_of(i));
      }
      writer.finish();
    }
    CHECK(kept <= 12);
    if (lost_lines + lost_rows == 0) CHECK(kept == 12);
    CHECK((file_bytes(out) == expected));
    CHECK(!std::filesystem::exists(partial));
    CHECK(!std::filesystem::exists(folder.path() / "out.safetensors.tmp.4999999"));
    std::filesystem::remove(out);
  }
  // Features of another origin or size are not mixed.
  folder.write("out.safetensors.partial/rows", rows);
  folder.write("out.safetensors.partial/clips", lines);
  FeatureOrigin other = kOrigin;
  other.sampling = "linspace";
  CHECK(contains(message_of<InputError>([&] { FeatureWriter(out, other, 3); }),
                 "out.safetensors.partial: holds"));
  CHECK(contains(message_of<InputError>([&] { FeatureWriter(out, kOrigin, 4); }),
                 "out.safetensors.partial: holds"));
}

TEST_CASE("clips of a feature file that is there are kept, and those left out are remembered",
          "[feature_file]") {
  const TemporaryFolder folder("feature_writer_kept");
  const std::filesystem::path out = folder.path() / "out.safetensors";
  {
    FeatureWriter writer(out, kOrigin, 3);
    for (int i = 0; i < 6; ++i) writer.add(id_of(i), features_of(i));
    writer.skip("video6");
    writer.skip("video7");
    writer.finish();
  }
  CHECK(FeatureFile::open(out).skipped() == std::vector<std::string>{"video6", "video7"});
  {
    FeatureWriter writer(out, kOrigin, 3);
    CHECK(writer.contains("video3"));
    CHECK(!writer.contains("video6"));
    writer.add("video6", features_of(6));
    writer.finish();
  }
  const FeatureFile file = FeatureFile::open(out);
  CHECK(file.size() == 7);
  CHECK(file.skipped() == std::vector<std::string>{"video7"});
  for (int i = 0; i < 7; ++i)
    CHECK(file.rows(file.find(id_of(i)).value()).to_vector<float>() == features_of(i).to_vector<float>());
  ClipFeatures all;
  all.add(FeatureFile::open(out));
  CHECK(all.skipped("video7"));
  CHECK(!all.skipped("video6"));
  CHECK(all.find("Video6.mp4").has_value());
  // Nothing begun leaves nothing behind.
  { FeatureWriter writer(folder.path() / "none.safetensors", kOrigin, 3); }
  CHECK(!std::filesystem::exists(folder.path() / "none.safetensors.partial"));
  CHECK(contains(message_of<InputError>([&] { FeatureWriter(folder.path() / "no/out", kOrigin, 3); }),
                 "no such folder"));
}

TEST_CASE("far more clips than a header has room for", "[feature_file]") {
  const TemporaryFolder folder("feature_file_many");
  const std::filesystem::path path = folder.path() / "f.safetensors";
  constexpr int kClips = 60'000;
  std::vector<FeatureFileEntry> entries;
  for (int i = 0; i < kClips; ++i) entries.push_back({std::to_string(1'000'000 + i), 1 + i % 2});
  write_feature_file(path, kOrigin, 2, entries, [](size_t i) {
    return Tensor::full({1 + static_cast<int64_t>(i % 2), 2}, static_cast<double>(i));
  });
  const FeatureFile file = FeatureFile::open(path);
  REQUIRE(file.size() == kClips);
  for (const int i : {0, 1, 49'999, 50'001, kClips - 1}) {
    const std::optional<size_t> at = file.find(std::to_string(1'000'000 + i));
    REQUIRE(at.has_value());
    CHECK(file.rows(*at).to_vector<float>() ==
          std::vector<float>(static_cast<size_t>(2 * (1 + i % 2)), static_cast<float>(i)));
  }
}

}  // namespace clipcap
