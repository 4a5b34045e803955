// Resizing and CLIP's preprocessing against Pillow, byte for byte (tools/fixtures/make_preprocess_golden.py).
#include <cmath>
#include <nlohmann/json.hpp>

#include "clipcap/cache/sha256.h"
#include "clipcap/encoders/preprocess.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"
#include "tests/catch.h"
#include "tests/source_dir.h"

namespace clipcap {
namespace {

// The fixture's picture formula.
Image formula_picture(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (uint32_t y = 0; y < height; ++y) {
    for (uint32_t x = 0; x < width; ++x) {
      const auto ramp = x * 255U / static_cast<uint32_t>(std::max<int64_t>(1, width - 1)) + y * 3U;
      image.rgb.push_back(static_cast<uint8_t>(ramp & 255U));
      image.rgb.push_back((x / 3 + y / 2) % 2 == 0 ? 255 : 0);
      image.rgb.push_back(static_cast<uint8_t>((((x * 73856093U) ^ (y * 19349663U)) >> 7U) & 255U));
    }
  }
  return image;
}

std::string digest(const Image& image) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(image.rgb)));
  return hash.hex();
}

nlohmann::json fixture() {
  return nlohmann::json::parse(read_text_file(testing::golden_path("preprocess.json"), 1U << 20U));
}

}  // namespace

TEST_CASE("resize gives Pillow's bytes", "[preprocess]") {
  const nlohmann::json golden = fixture();
  for (const auto& entry : golden["resize"]) {
    INFO(entry["from"].dump() << " to " << entry["to"].dump() << " " << entry["filter"]);
    const ResizeFilter filter = entry["filter"] == "bicubic" ? ResizeFilter::bicubic : ResizeFilter::bilinear;
    const Image result =
        resize(formula_picture(entry["from"][0], entry["from"][1]), entry["to"][0], entry["to"][1], filter);
    CHECK(result.width == entry["to"][0].get<int64_t>());
    CHECK(result.height == entry["to"][1].get<int64_t>());
    if (entry.contains("rgb")) CHECK(result.rgb == entry["rgb"].get<std::vector<uint8_t>>());
    CHECK(digest(result) == entry["sha256"].get<std::string>());
  }
}

TEST_CASE("CLIP's resize, crop and normalisation equal Pillow's and NumPy's", "[preprocess]") {
  const nlohmann::json golden = fixture();
  for (const auto& entry : golden["crop"]) {
    INFO(entry["from"].dump() << " side " << entry["side"]);
    const Image image = formula_picture(entry["from"][0], entry["from"][1]);
    const int64_t side = entry["side"];
    const Image cropped = resize_and_crop(image, side, side, ResizeFilter::bicubic);
    REQUIRE(cropped.width == side);
    REQUIRE(cropped.height == side);
    CHECK(digest(cropped) == entry["sha256"].get<std::string>());
    std::vector<float> pixels(static_cast<size_t>(3 * side * side), NAN);
    preprocess(image, clip_preprocessing(side), pixels);
    for (size_t i = 0; i < entry["at"].size(); ++i) {
      CHECK(pixels[entry["at"][i].get<size_t>()] == entry["values"][i].get<float>());
    }
    for (const float value : pixels) REQUIRE(std::isfinite(value));
  }
}

TEST_CASE("a resize to the same size changes nothing; flat pictures stay flat", "[preprocess]") {
  const Image image = formula_picture(37, 21);
  CHECK(resize(image, 37, 21, ResizeFilter::bicubic).rgb == image.rgb);
  for (const int value : {0, 1, 128, 255}) {
    const Image flat{50, 40, std::vector<uint8_t>(50 * 40 * 3, static_cast<uint8_t>(value))};
    for (const auto& [w, h] : {std::pair<int64_t, int64_t>{3, 3}, {7, 91}, {200, 13}, {1, 1}}) {
      const Image result = resize(flat, w, h, ResizeFilter::bicubic);
      CHECK(result.rgb == std::vector<uint8_t>(static_cast<size_t>(w * h * 3), static_cast<uint8_t>(value)));
    }
  }
}

TEST_CASE("the crop is the middle of the resized picture", "[preprocess]") {
  for (const auto& [w, h] : {std::pair<int64_t, int64_t>{61, 40}, {40, 61}, {33, 32}, {200, 17}, {10, 300}}) {
    const int64_t side = 32;
    const Image cropped = resize_and_crop(formula_picture(w, h), side, side, ResizeFilter::bilinear);
    const int64_t rw =
        w <= h ? side : static_cast<int64_t>(static_cast<double>(side * w) / static_cast<double>(h));
    const int64_t rh =
        w <= h ? static_cast<int64_t>(static_cast<double>(side * h) / static_cast<double>(w)) : side;
    const Image whole = resize(formula_picture(w, h), rw, rh, ResizeFilter::bilinear);
    // Halves to even.
    const auto left = static_cast<int64_t>(std::nearbyint(static_cast<double>(rw - side) / 2));
    const auto top = static_cast<int64_t>(std::nearbyint(static_cast<double>(rh - side) / 2));
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t i = 0; i < side * 3; ++i) {
        REQUIRE(cropped.rgb[static_cast<size_t>(y * side * 3 + i)] ==
                whole.rgb[static_cast<size_t>(((top + y) * rw + left) * 3 + i)]);
      }
    }
  }
}

TEST_CASE("preprocessing refuses what has no size", "[preprocess]") {
  const Image image = formula_picture(4, 4);
  std::vector<float> pixels(10);
  CHECK_THROWS_AS(preprocess(image, clip_preprocessing(4), pixels), Error);
  CHECK_THROWS_AS(resize(image, 0, 4, ResizeFilter::bicubic), Error);
  CHECK_THROWS_AS(resize(Image{}, 4, 4, ResizeFilter::bicubic), Error);
}

}  // namespace clipcap
