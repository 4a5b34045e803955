#include "clipcap/media/resize.h"

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

// For every output position: the first input it reads and its weights, exact and in fixed point.
struct Taps {
  int64_t most = 0;  // weights an output
  std::vector<int64_t> first;
  std::vector<int64_t> count;
  std::vector<int32_t> weights;  // [outputs, most]
  std::vector<double> exact;     // [outputs, most]
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
  taps.exact.assign(static_cast<size_t>(used * taps.most), 0);
  for (int64_t i = 0; i < used; ++i) {
    const double centre = (static_cast<double>(begin + i) + 0.5) * scale;
    const auto low = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
    const auto high = std::min<int64_t>(in, static_cast<int64_t>(centre + support + 0.5));
    double total = 0;
    double* exact = taps.exact.data() + i * taps.most;
    for (int64_t j = low; j < high; ++j) {
      exact[j - low] = weight_at((static_cast<double>(j) - centre + 0.5) / stretch);
      total += exact[j - low];
    }
    for (int64_t j = 0; j < high - low; ++j) {
      exact[j] *= 1.0 / total;  // as Pillow does: a quotient would differ in the last bit
      const double fixed = exact[j] * (1 << kPrecisionBits);
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

// Adds two rows of bytes, weighted by weights[0..1] (low halves) and weights[2..3] (high halves),
// to the sums.
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

// Pillow's nearest neighbour: positions by repeated addition, truncated.
std::vector<int64_t> nearest_positions(int64_t in, int64_t out, int64_t begin, int64_t used) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  std::vector<int64_t> positions;
  double at = step * 0.5;
  for (int64_t i = 0; i < begin + used; ++i, at += step) {
    if (i >= begin) positions.push_back(std::min(in - 1, static_cast<int64_t>(at)));
  }
  return positions;
}

Image pick_window(const Image& image, int64_t width, int64_t height, const ResizeWindow& window) {
  const std::vector<int64_t> columns = nearest_positions(image.width, width, window.left, window.width);
  const std::vector<int64_t> rows = nearest_positions(image.height, height, window.top, window.height);
  Image result{window.width, window.height, {}};
  result.rgb.reserve(static_cast<size_t>(window.width * window.height * 3));
  for (const int64_t y : rows) {
    const uint8_t* row = image.rgb.data() + y * image.width * 3;
    for (const int64_t x : columns) result.rgb.insert(result.rgb.end(), row + 3 * x, row + 3 * x + 3);
  }
  return result;
}

// Pillow 13 shrinks the rows first where they lose more than twice as many as the columns do, to have
// less to do; the order shows in the pixels, since each pass rounds and clips. Older releases always
// begin with the columns.
bool rows_come_first(const Image& image, int64_t width, int64_t height) {
  const int64_t lost = image.height - height;
  return lost > 0 && lost > 2 * (image.width - width);
}

uint16_t rounded16(double sum) {
  return static_cast<uint16_t>(std::clamp(std::floor(sum + 0.5), 0.0, 65535.0));
}

// Python's round(x / 2): halves go to the even integer.
int64_t half_to_even(int64_t x) {
  const int64_t half = x / 2;
  return x % 2 != 0 && half % 2 != 0 ? half + 1 : half;
}

// Pillow's premultiplication: a product of two bytes over 255, rounded.
uint8_t scaled(uint8_t value, uint8_t alpha) {
  const unsigned product = static_cast<unsigned>(value) * alpha + 128;
  return static_cast<uint8_t>(((product >> 8U) + product) >> 8U);
}

Image resize_alpha_window(const Image& image, int64_t width, int64_t height, const ResizeWindow& window,
                          ResizeFilter filter) {
  Image colours{image.width, image.height, image.rgb};
  Image weights{image.width, image.height, std::vector<uint8_t>(image.rgb.size())};
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    colours.rgb[i] = scaled(image.rgb[i], image.alpha[i / 3]);
    weights.rgb[i] = image.alpha[i / 3];
  }
  Image result = resize_window(colours, width, height, window, filter);
  const Image alpha = resize_window(weights, width, height, window, filter);
  for (size_t i = 0; i < result.rgb.size(); ++i) {
    const unsigned a = alpha.rgb[i];
    if (a != 0 && a != 255) result.rgb[i] = static_cast<uint8_t>(std::min(255U, 255U * result.rgb[i] / a));
  }
  return result;
}

Image resize_ink_window(const Image& image, int64_t width, int64_t height, const ResizeWindow& window,
                        ResizeFilter filter) {
  Image colours{image.width, image.height, std::vector<uint8_t>(image.rgb.size())};
  Image black{image.width, image.height, std::vector<uint8_t>(image.rgb.size())};
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    colours.rgb[i] = image.ink[i / 3 * 4 + i % 3];
    black.rgb[i] = image.ink[i / 3 * 4 + 3];
  }
  colours = resize_window(colours, width, height, window, filter);
  black = resize_window(black, width, height, window, filter);
  std::vector<uint8_t> ink;
  for (size_t i = 0; i < colours.rgb.size(); ++i) {
    ink.push_back(colours.rgb[i]);
    if (i % 3 == 2) ink.push_back(black.rgb[i]);
  }
  return {window.width, window.height, rgb_of_ink(ink)};
}

}  // namespace

Image resize_window(const Image& image, int64_t width, int64_t height, const ResizeWindow& window,
                    ResizeFilter filter) {
  if (filter == ResizeFilter::nearest) return pick_window(image, width, height, window);
  // A pass that keeps its size is left out, as in Pillow; its taps would be the identity anyway.
  const Taps columns = make_taps(image.width, width, window.left, window.width, filter);
  const Taps rows = make_taps(image.height, height, window.top, window.height, filter);
  if (rows_come_first(image, width, height)) {
    return resample_columns(resample_rows(image, 0, rows), 0, window.height, columns);
  }
  const int64_t top = rows.first.front();
  const Image narrow = resample_columns(image, top, rows.first.back() + rows.count.back() - top, columns);
  return resample_rows(narrow, top, rows);
}

Image resize(const Image& image, int64_t width, int64_t height, ResizeFilter filter) {
  CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0, "resize: ", image.width, " x ",
        image.height, " to ", width, " x ", height);
  return resize_window(image, width, height, {0, 0, width, height}, filter);
}

Image resize_grey16_window(const Image& image, int64_t width, int64_t height, const ResizeWindow& window,
                           ResizeFilter filter) {
  const Taps columns = make_taps(image.width, width, window.left, window.width, filter);
  const Taps rows = make_taps(image.height, height, window.top, window.height, filter);
  // A plane of `stride` numbers a row; its output (x, y) is a sum along one direction.
  using Plane = std::vector<uint16_t>;
  const auto along_row = [&](const Plane& from, int64_t stride, int64_t y, int64_t x) {
    const auto at = static_cast<size_t>(x);
    double sum = 0;
    for (int64_t j = 0; j < columns.count[at]; ++j) {
      sum += static_cast<double>(from[static_cast<size_t>(y * stride + columns.first[at] + j)]) *
             columns.exact[static_cast<size_t>(x * columns.most + j)];
    }
    return rounded16(sum);
  };
  const auto along_column = [&](const Plane& from, int64_t stride, int64_t y, int64_t x) {
    const auto at = static_cast<size_t>(y);
    double sum = 0;
    for (int64_t j = 0; j < rows.count[at]; ++j) {
      sum += static_cast<double>(from[static_cast<size_t>((rows.first[at] + j) * stride + x)]) *
             rows.exact[static_cast<size_t>(y * rows.most + j)];
    }
    return rounded16(sum);
  };
  const auto pass = [](const Plane& from, int64_t stride, int64_t new_width, int64_t new_height,
                       const auto& sum) {
    Plane to;
    to.reserve(static_cast<size_t>(new_width * new_height));
    for (int64_t y = 0; y < new_height; ++y) {
      for (int64_t x = 0; x < new_width; ++x) to.push_back(sum(from, stride, y, x));
    }
    return to;
  };
  Image result{window.width, window.height, {}, PixelMode::grey16};
  if (rows_come_first(image, width, height)) {
    const Plane low = pass(image.grey16, image.width, image.width, window.height, along_column);
    result.grey16 = pass(low, image.width, window.width, window.height, along_row);
  } else {
    const Plane narrow = pass(image.grey16, image.width, window.width, image.height, along_row);
    result.grey16 = pass(narrow, window.width, window.width, window.height, along_column);
  }
  for (const uint16_t value : result.grey16)
    result.rgb.insert(result.rgb.end(), 3, static_cast<uint8_t>(std::min<uint16_t>(255, value)));
  return result;
}

Image resize_and_crop(const Image& image, int64_t side, int64_t crop, ResizeFilter filter) {
  CHECK(image.width > 0 && image.height > 0 && crop > 0 && crop <= side, "resize_and_crop: ", image.width,
        " x ", image.height, " to ", side, ", crop ", crop);
  int64_t width = side;
  int64_t height = side;
  if (image.width <= image.height) {
    height = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(image.height) /
                                  static_cast<double>(image.width));
  } else {
    width = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(image.width) /
                                 static_cast<double>(image.height));
  }
  const ResizeWindow centre{half_to_even(width - crop), half_to_even(height - crop), crop, crop};
  // A picture that has the size already is not touched: with alpha, even a resize to the same size rounds.
  const bool same = width == image.width && height == image.height;
  if (image.mode == PixelMode::indexed)
    return resize_window(image, width, height, centre, ResizeFilter::nearest);
  if (image.mode == PixelMode::alpha && !same)
    return resize_alpha_window(image, width, height, centre, filter);
  if (image.mode == PixelMode::ink) return resize_ink_window(image, width, height, centre, filter);
  if (image.mode == PixelMode::grey16) return resize_grey16_window(image, width, height, centre, filter);
  return resize_window(image, width, height, centre, filter);
}

}  // namespace clipcap
