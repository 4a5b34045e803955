#include "clipcap/clip/preprocess.h"

#include <algorithm>
#include <cmath>

#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // Pillow's: 8 bits of pixel, 2 of headroom for negative lobes

double bilinear_weight(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0;
}

double bicubic_weight(double x) {  // Keys 1981 with a = -0.5
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// For every output position: the first input it reads and its fixed-point weights.
struct Taps {
  int64_t most = 0;  // weights an output
  std::vector<int64_t> first;
  std::vector<int64_t> count;
  std::vector<int32_t> weights;  // [outputs, most]
};

Taps make_taps(int64_t in, int64_t out, ResizeFilter filter) {
  const double support_unit = filter == ResizeFilter::bicubic ? 2.0 : 1.0;
  const auto weight_at = filter == ResizeFilter::bicubic ? bicubic_weight : bilinear_weight;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(1.0, scale);
  const double support = support_unit * stretch;
  Taps taps;
  taps.most = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  taps.weights.assign(static_cast<size_t>(out * taps.most), 0);
  std::vector<double> exact(static_cast<size_t>(taps.most));
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto low = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const auto high = std::min<int64_t>(in, static_cast<int64_t>(centre + support + 0.5));
    double total = 0;
    for (int64_t j = low; j < high; ++j) {
      exact[static_cast<size_t>(j - low)] = weight_at((static_cast<double>(j) - centre + 0.5) / stretch);
      total += exact[static_cast<size_t>(j - low)];
    }
    for (int64_t j = 0; j < high - low; ++j) {
      const double fixed = exact[static_cast<size_t>(j)] / total * (1 << kPrecisionBits);
      taps.weights[static_cast<size_t>(i * taps.most + j)] = static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    taps.first.push_back(low);
    taps.count.push_back(high - low);
  }
  return taps;
}

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255)); }
constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

Image resize_columns(const Image& image, int64_t width, ResizeFilter filter) {
  const Taps taps = make_taps(image.width, width, filter);
  Image result{width, image.height, std::vector<uint8_t>(static_cast<size_t>(width * image.height * 3))};
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* row = image.rgb.data() + y * image.width * 3;
    uint8_t* to = result.rgb.data() + y * width * 3;
    for (int64_t x = 0; x < width; ++x) {
      const uint8_t* from = row + taps.first[static_cast<size_t>(x)] * 3;
      const int32_t* weight = taps.weights.data() + x * taps.most;
      int32_t red = kHalf;
      int32_t green = kHalf;
      int32_t blue = kHalf;
      for (int64_t j = 0; j < taps.count[static_cast<size_t>(x)]; ++j) {
        red += from[3 * j] * weight[j];
        green += from[3 * j + 1] * weight[j];
        blue += from[3 * j + 2] * weight[j];
      }
      to[3 * x] = rounded(red);
      to[3 * x + 1] = rounded(green);
      to[3 * x + 2] = rounded(blue);
    }
  }
  return result;
}

Image resize_rows(const Image& image, int64_t height, ResizeFilter filter) {
  const Taps taps = make_taps(image.height, height, filter);
  const int64_t stride = image.width * 3;
  Image result{image.width, height, std::vector<uint8_t>(static_cast<size_t>(stride * height))};
  std::vector<int32_t> sums(static_cast<size_t>(stride));
  for (int64_t y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int64_t j = 0; j < taps.count[static_cast<size_t>(y)]; ++j) {
      const uint8_t* from = image.rgb.data() + (taps.first[static_cast<size_t>(y)] + j) * stride;
      const int32_t weight = taps.weights[static_cast<size_t>(y * taps.most + j)];
      for (int64_t x = 0; x < stride; ++x) sums[static_cast<size_t>(x)] += from[x] * weight;
    }
    uint8_t* to = result.rgb.data() + y * stride;
    for (int64_t x = 0; x < stride; ++x) to[x] = rounded(sums[static_cast<size_t>(x)]);
  }
  return result;
}

// Python's round(x / 2): halves go to the even integer.
int64_t half_to_even(int64_t x) {
  const int64_t half = x / 2;
  return x % 2 != 0 && half % 2 != 0 ? half + 1 : half;
}

}  // namespace

Image resize(const Image& image, int64_t width, int64_t height, ResizeFilter filter) {
  CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0, "resize: ", image.width, " x ", image.height, " to ", width,
        " x ", height);
  Image result = image.width == width ? image : resize_columns(image, width, filter);
  return result.height == height ? result : resize_rows(result, height, filter);
}

Image resize_and_crop(const Image& image, int64_t side, ResizeFilter filter) {
  CHECK(image.width > 0 && image.height > 0 && side > 0, "resize_and_crop: ", image.width, " x ", image.height, " to ", side);
  int64_t width = side;
  int64_t height = side;
  if (image.width <= image.height) {
    height = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(image.height) / static_cast<double>(image.width));
  } else {
    width = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(image.width) / static_cast<double>(image.height));
  }
  const Image whole = resize(image, width, height, filter);
  const int64_t left = half_to_even(width - side);
  const int64_t top = half_to_even(height - side);
  Image result{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3))};
  for (int64_t y = 0; y < side; ++y) {
    const uint8_t* from = whole.rgb.data() + ((top + y) * width + left) * 3;
    std::copy(from, from + side * 3, result.rgb.data() + y * side * 3);
  }
  return result;
}

void clip_preprocess(const Image& image, int64_t side, std::span<float> pixels) {
  constexpr float kMean[3] = {0.48145466F, 0.4578275F, 0.40821073F};
  constexpr float kDeviation[3] = {0.26862954F, 0.26130258F, 0.27577711F};
  const int64_t count = side * side;
  CHECK(static_cast<int64_t>(pixels.size()) == 3 * count, "clip_preprocess: ", pixels.size(), " numbers for side ", side);
  const Image cropped = resize_and_crop(image, side, ResizeFilter::bicubic);
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(cropped.rgb[static_cast<size_t>(3 * i + c)]) / 255.0F;
      pixels[static_cast<size_t>(c * count + i)] = (value - kMean[c]) / kDeviation[c];
    }
  }
}

}  // namespace clipcap
