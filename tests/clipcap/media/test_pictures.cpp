// Picture files of every mode through CLIP's and ImageNet's preprocessing, against
// Pillow (tools/fixtures/make_pictures_golden.py).
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "clipcap/encoders/preprocess.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

std::filesystem::path folder() {
  const char* chosen = std::getenv("CLIPCAP_PICTURES");
  return chosen != nullptr ? std::filesystem::path(chosen) : testing::golden_path("pictures");
}

std::vector<uint8_t> from_base64(const std::string& text) {
  std::vector<uint8_t> bytes;
  uint32_t bits = 0;
  int count = 0;
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (const char c : text) {
    const size_t value = alphabet.find(c);
    if (value == std::string::npos) break;
    bits = bits << 6U | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<uint8_t>(bits >> static_cast<unsigned>(count)));
  }
  return bytes;
}

// Differences in levels of 255: the largest and the mean.
std::pair<double, double> differences(const Image& image, const Preprocessing& preprocessing,
                                      const std::vector<uint8_t>& expected) {
  std::vector<float> pixels(expected.size(), NAN);
  preprocess(image, preprocessing, pixels);
  const auto plane = expected.size() / 3;
  double most = 0;
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const size_t c = i / plane;
    const double level =
        255.0 * (static_cast<double>(pixels[i]) * static_cast<double>(preprocessing.deviation[c]) +
                 static_cast<double>(preprocessing.mean[c]));
    const double difference = std::abs(level - expected[3 * (i % plane) + c]);
    most = std::max(most, difference);
    sum += difference;
  }
  return {most, sum / static_cast<double>(expected.size())};
}

}  // namespace

TEST_CASE("preprocessed pictures of every mode have Pillow's pixels", "[pictures]") {
  const nlohmann::json document =
      nlohmann::json::parse(read_text_file(folder() / "expected.json", 1U << 30U));
  const int64_t crop = document["crop"];
  REQUIRE(document["pictures"].size() >= 24);
  double worst = 0;
  for (const auto& [name, expected] : document["pictures"].items()) {
    INFO(name);
    const Image image = read_picture(folder() / name);
    for (const auto& [kind, preprocessing] :
         {std::pair{"clip", clip_preprocessing(crop)}, std::pair{"imagenet", imagenet_preprocessing(crop)}}) {
      INFO(kind);
      const auto [most, mean] = differences(image, preprocessing, from_base64(expected[kind]));
      worst = std::max(worst, most);
      CHECK(most < (name.find("grey16") == std::string::npos ? 0.01 : 1.01));  // a sum of doubles near a half
      CHECK(mean < 0.001);
    }
  }
  INFO("largest difference " << worst);
  CHECK(worst < 1.01);
}

TEST_CASE("damaged pictures of every mode give an error or a picture", "[pictures]") {
  const TemporaryFolder scratch("pictures_damaged");
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_path("pictures"))) {
    if (entry.path().extension() == ".json") continue;
    INFO(entry.path().filename().string());
    const std::string whole = file_bytes(entry.path());
    for (unsigned variant = 0; variant < 60; ++variant) {
      INFO(variant);
      const auto path = scratch.write("x", damaged(whole, variant));
      try {
        const Image image = read_picture(path);
        CHECK(image.rgb.size() == static_cast<size_t>(3 * image.width * image.height));
      } catch (const InputError& error) {
        CHECK(std::string(error.what()).find("x: ") != std::string::npos);
      }
    }
  }
}

}  // namespace clipcap
