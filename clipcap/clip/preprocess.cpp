#include "clipcap/clip/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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

// Taps of the outputs [begin, begin + used) of a resize from `in` to `out`.
Taps make_taps(int64_t in, int64_t out, int64_t begin, int64_t used, ResizeFilter filter) {
  const double support_unit = filter == ResizeFilter::bicubic ? 2.0 : 1.0;
  const auto weight_at = filter == ResizeFilter::bicubic ? bicubic_weight : bilinear_weight;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(1.0, scale);
  const double support = support_unit * stretch;
  Taps taps;
  taps.most = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  taps.weights.assign(static_cast<size_t>(used * taps.most), 0);
  std::vector<double> exact(static_cast<size_t>(taps.most));
  for (int64_t i = 0; i < used; ++i) {
    const double centre = (static_cast<double>(begin + i) + 0.5) * scale;
    const auto low = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const auto high = std::min<int64_t>(in, static_cast<int64_t>(centre + support + 0.5));
    double total = 0;
    for (int64_t j = low; j < high; ++j) {
      exact[static_cast<size_t>(j - low)] = weight_at((static_cast<double>(j) - centre + 0.5) / stretch);
      total += exact[static_cast<size_t>(j - low)];
    }
    for (int64_t j = 0; j < high - low; ++j) {
      const double fixed = exact[static_cast<size_t>(j)] / total * (1 << kPrecisionBits);
      taps.weights[static_cast<size_t>(i * taps.most + j)] =
          static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    taps.first.push_back(low);
    taps.count.push_back(high - low);
  }
  return taps;
}

// A weight below 2^23 in two halves that fit a signed 16-bit factor: weight = high * 2^12 + low. Pixel times
// half is then a product of 16-bit numbers, which every vector unit adds in pairs; the sums are the same
// whole numbers.
constexpr int kLowBits = 12;
int16_t low_half(int32_t weight) { return static_cast<int16_t>(weight & ((1 << kLowBits) - 1)); }
int16_t high_half(int32_t weight) { return static_cast<int16_t>(weight >> kLowBits); }

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255)); }
constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

constexpr int64_t kPair = 8;  // numbers of two neighbouring pixels: r r g g b b 0 0

// Weighted sums of `pairs` pairs of pixels for the three channels. `weights` has four numbers a pair: the low
// halves of its two weights, then the high halves.
void sum_pairs(const int16_t* values, const int16_t* weights, int64_t pairs, int32_t sums[4]) {
#if defined(__SSE2__)
  __m128i low = _mm_set1_epi32(kHalf);
  __m128i high = _mm_setzero_si128();
  for (int64_t i = 0; i < pairs; ++i, values += kPair, weights += 4) {
    const __m128i value = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
    const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weights));
    low = _mm_add_epi32(low, _mm_madd_epi16(value, _mm_shuffle_epi32(both, 0x00)));
    high = _mm_add_epi32(high, _mm_madd_epi16(value, _mm_shuffle_epi32(both, 0x55)));
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(sums), _mm_add_epi32(low, _mm_slli_epi32(high, kLowBits)));
#else
  int32_t high[4] = {};
  for (int64_t c = 0; c < 4; ++c) sums[c] = kHalf;
  for (int64_t i = 0; i < pairs; ++i, values += kPair, weights += 4) {
    for (int64_t c = 0; c < 3; ++c) {
      sums[c] += values[2 * c] * weights[0] + values[2 * c + 1] * weights[1];
      high[c] += values[2 * c] * weights[2] + values[2 * c + 1] * weights[3];
    }
  }
  for (int64_t c = 0; c < 3; ++c) sums[c] += high[c] * (1 << kLowBits);
#endif
}

// Unpacks `pixels` RGB pixels into pairs.
void unpack_pairs(const uint8_t* row, int64_t pixels, int16_t* pairs) {
  int64_t x = 0;
#if defined(__SSE2__)
  for (; x + 3 <= pixels; x += 2) {  // reads eight bytes of the nine that are there
    int32_t first;
    int32_t second;
    std::memcpy(&first, row + 3 * x, sizeof first);
    std::memcpy(&second, row + 3 * x + 3, sizeof second);
    const __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi32_si128(first), _mm_cvtsi32_si128(second));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(pairs + x / 2 * kPair),
                     _mm_unpacklo_epi8(bytes, _mm_setzero_si128()));
  }
#endif
  for (; x < pixels; ++x) {
    int16_t* to = pairs + x / 2 * kPair + x % 2;
    for (int64_t c = 0; c < 3; ++c) to[2 * c] = row[3 * x + c];
  }
}

// Rows [top, top + rows) of `image`, its columns resampled by `taps`.
Image resample_columns(const Image& image, int64_t top, int64_t rows, const Taps& taps) {
  const auto width = static_cast<int64_t>(taps.first.size());
  Image result{width, rows, std::vector<uint8_t>(static_cast<size_t>(width * rows * 3))};
  // Only the columns that some output reads are unpacked.
  const int64_t left = taps.first.front() & ~int64_t{1};
  const int64_t right = taps.first.back() + taps.count.back();
  std::vector<int16_t> line(static_cast<size_t>(((right - left) / 2 + 2) * kPair), 0);
  // Weights for whole pairs of columns: a window that begins on an odd column gets a zero in front.
  const int64_t most = taps.most / 2 + 2;
  std::vector<int16_t> weights(static_cast<size_t>(width * most * 4), 0);
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t j = 0; j < taps.count[static_cast<size_t>(x)]; ++j) {
      const int32_t weight = taps.weights[static_cast<size_t>(x * taps.most + j)];
      const int64_t column = (taps.first[static_cast<size_t>(x)] & 1) + j;
      int16_t* to = weights.data() + (x * most + column / 2) * 4 + column % 2;
      to[0] = low_half(weight);
      to[2] = high_half(weight);
    }
  }
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* row = image.rgb.data() + ((top + y) * image.width + left) * 3;
    unpack_pairs(row, right - left, line.data());
    uint8_t* to = result.rgb.data() + y * width * 3;
    for (int64_t x = 0; x < width; ++x, to += 3) {
      const int64_t first = taps.first[static_cast<size_t>(x)];
      const int64_t pairs = ((first & 1) + taps.count[static_cast<size_t>(x)] + 1) / 2;
      int32_t sums[4];
      sum_pairs(line.data() + (first - left) / 2 * kPair, weights.data() + x * most * 4, pairs, sums);
      for (int64_t c = 0; c < 3; ++c) to[c] = rounded(sums[c]);
    }
  }
  return result;
}

// Adds two rows of bytes, weighted by weights[0..1] (low halves) and weights[2..3] (high halves), to the
// sums.
void add_rows(const uint8_t* first, const uint8_t* second, const int16_t* weights, int64_t count,
              int32_t* low, int32_t* high) {
  int64_t x = 0;
#if defined(__SSE2__)
  const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weights));
  const __m128i low_weight = _mm_shuffle_epi32(both, 0x00);
  const __m128i high_weight = _mm_shuffle_epi32(both, 0x55);
  const auto add = [](int32_t* sums, __m128i terms) {
    auto* to = reinterpret_cast<__m128i*>(sums);
    _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), terms));
  };
  for (; x + 8 <= count; x += 8) {
    const __m128i bytes = _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(first + x)),
                                            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(second + x)));
    const __m128i front = _mm_unpacklo_epi8(bytes, _mm_setzero_si128());
    const __m128i back = _mm_unpackhi_epi8(bytes, _mm_setzero_si128());
    add(low + x, _mm_madd_epi16(front, low_weight));
    add(low + x + 4, _mm_madd_epi16(back, low_weight));
    add(high + x, _mm_madd_epi16(front, high_weight));
    add(high + x + 4, _mm_madd_epi16(back, high_weight));
  }
#endif
  for (; x < count; ++x) {
    low[x] += first[x] * weights[0] + second[x] * weights[1];
    high[x] += first[x] * weights[2] + second[x] * weights[3];
  }
}

// `image` begins at row `top` of the picture that `taps` count in; its rows resampled.
Image resample_rows(const Image& image, int64_t top, const Taps& taps) {
  const auto height = static_cast<int64_t>(taps.first.size());
  const int64_t stride = image.width * 3;
  Image result{image.width, height, std::vector<uint8_t>(static_cast<size_t>(stride * height))};
  std::vector<int32_t> low(static_cast<size_t>(stride));
  std::vector<int32_t> high(static_cast<size_t>(stride));
  for (int64_t y = 0; y < height; ++y) {
    std::fill(low.begin(), low.end(), kHalf);
    std::fill(high.begin(), high.end(), 0);
    const uint8_t* from = image.rgb.data() + (taps.first[static_cast<size_t>(y)] - top) * stride;
    const int32_t* weight = taps.weights.data() + y * taps.most;
    const int64_t count = taps.count[static_cast<size_t>(y)];
    for (int64_t j = 0; j < count; j += 2) {
      const bool pair = j + 1 < count;
      const int32_t next = pair ? weight[j + 1] : 0;
      const int16_t halves[4] = {low_half(weight[j]), low_half(next), high_half(weight[j]), high_half(next)};
      add_rows(from + j * stride, from + (pair ? j + 1 : j) * stride, halves, stride, low.data(),
               high.data());
    }
    uint8_t* to = result.rgb.data() + y * stride;
    for (int64_t x = 0; x < stride; ++x) {
      to[x] = rounded(high[static_cast<size_t>(x)] * (1 << kLowBits) + low[static_cast<size_t>(x)]);
    }
  }
  return result;
}

// A rectangle of a resized picture.
struct Window {
  int64_t left;
  int64_t top;
  int64_t width;
  int64_t height;
};

// The window of `image` resized to width x height; nothing outside it is computed.
Image resize_window(const Image& image, int64_t width, int64_t height, const Window& window,
                    ResizeFilter filter) {
  // A pass that keeps its size is left out, as in Pillow; its taps would be the identity anyway.
  const Taps columns = make_taps(image.width, width, window.left, window.width, filter);
  const Taps rows = make_taps(image.height, height, window.top, window.height, filter);
  const int64_t top = rows.first.front();
  const Image narrow = resample_columns(image, top, rows.first.back() + rows.count.back() - top, columns);
  return resample_rows(narrow, top, rows);
}

// Python's round(x / 2): halves go to the even integer.
int64_t half_to_even(int64_t x) {
  const int64_t half = x / 2;
  return x % 2 != 0 && half % 2 != 0 ? half + 1 : half;
}

}  // namespace

Image resize(const Image& image, int64_t width, int64_t height, ResizeFilter filter) {
  CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0, "resize: ", image.width, " x ",
        image.height, " to ", width, " x ", height);
  return resize_window(image, width, height, {0, 0, width, height}, filter);
}

Image resize_and_crop(const Image& image, int64_t side, ResizeFilter filter) {
  CHECK(image.width > 0 && image.height > 0 && side > 0, "resize_and_crop: ", image.width, " x ",
        image.height, " to ", side);
  int64_t width = side;
  int64_t height = side;
  if (image.width <= image.height) {
    height = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(image.height) /
                                  static_cast<double>(image.width));
  } else {
    width = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(image.width) /
                                 static_cast<double>(image.height));
  }
  const Window centre{half_to_even(width - side), half_to_even(height - side), side, side};
  return resize_window(image, width, height, centre, filter);
}

void clip_preprocess(const Image& image, int64_t side, std::span<float> pixels) {
  constexpr float kMean[3] = {0.48145466F, 0.4578275F, 0.40821073F};
  constexpr float kDeviation[3] = {0.26862954F, 0.26130258F, 0.27577711F};
  const int64_t count = side * side;
  CHECK(static_cast<int64_t>(pixels.size()) == 3 * count, "clip_preprocess: ", pixels.size(),
        " numbers for side ", side);
  const Image cropped = resize_and_crop(image, side, ResizeFilter::bicubic);
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(cropped.rgb[static_cast<size_t>(3 * i + c)]) / 255.0F;
      pixels[static_cast<size_t>(c * count + i)] = (value - kMean[c]) / kDeviation[c];
    }
  }
}

}  // namespace clipcap
