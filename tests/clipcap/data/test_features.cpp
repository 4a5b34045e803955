// From clips to batches of features: arrays of features as they come, cut to the model's frames, and stacked
// with zero rows past each clip's end.
#include "clipcap/data/feature_extractor.h"
#include "clipcap/encoders/towers.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

using namespace clipcap;
using testing::difference;

namespace {

// A .npy of f8 values i = 0, 1, 2, …
std::string npy(int64_t rows, int64_t columns) {
  std::string header =
      concat_text("{'descr': '<f8', 'fortran_order': False, 'shape': (", rows, ", ", columns, "), }");
  header.append(118 - header.size(), ' ');
  std::string bytes = std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const auto value = static_cast<double>(i);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

}  // namespace

TEST_CASE("features: an array has as many rows as the model has frames at most", "[features]") {
  const TemporaryFolder folder("features_npy");
  Config config = load_config("clips");
  config.model.frames = 4;
  Generator generator(1);
  const VisionTower tower({16, 8, 8, 1, 2, 6}, Activation::quick_gelu, generator);
  const FeatureExtractor extractor(tower, config, "");
  for (const int64_t rows : {1, 3, 4, 5, 40}) {
    INFO(rows);
    const Tensor features = extractor.features(folder.write("clip.npy", npy(rows, 6)));
    CHECK(features.dtype() == DType::f32);
    REQUIRE(features.shape() == Shape{std::min<int64_t>(rows, 4), 6});
    for (int64_t row = 0; row < features.dim(0); ++row) {
      const int64_t from = rows <= 4 ? row : (2 * row + 1) * rows / 8;  // the middles of four spans
      for (int64_t i = 0; i < 6; ++i)
        CHECK(features.to_vector<float>()[static_cast<size_t>(row * 6 + i)] ==
              static_cast<float>(from * 6 + i));
    }
  }
  for (const auto& [rows, columns] : {std::pair{3, 5}, std::pair{3, 7}, std::pair{0, 6}}) {
    const auto path = folder.write("wrong.npy", npy(rows, columns));
    CHECK(message_of<InputError>([&] { (void)extractor.features(path); }).find("wrong.npy: ") !=
          std::string::npos);
  }
}

TEST_CASE("features: stacked clips keep their rows and lengths, in any order of lengths", "[features]") {
  std::vector<Tensor> clips;
  const std::vector<int32_t> lengths{3, 5, 1, 4};
  for (const int32_t length : lengths)
    clips.push_back(
        Tensor::from(testing::random_values<float>(length * 2, static_cast<uint64_t>(length)), {length, 2}));
  const FeatureBatch batch = stack_features(clips);
  CHECK(batch.lengths == lengths);
  REQUIRE(batch.features.shape() == Shape{4, 5, 2});
  for (size_t b = 0; b < clips.size(); ++b) {
    const Tensor own = batch.features.slice(0, static_cast<int64_t>(b), 1);
    const int64_t length = lengths[b];
    CHECK(difference(own.slice(1, 0, length).reshape({length, 2}), clips[b]).error == 0.0);
    const Tensor rest = own.slice(1, length, 5 - length);
    CHECK(difference(rest, Tensor::zeros(rest.shape())).error == 0.0);
  }
  CHECK_THROWS_AS(stack_features({}), Error);
}
