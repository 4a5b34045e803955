#include "clipcap/media/frame_image.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "tensor/check.h"

namespace clipcap {
namespace {

bool is_full_range(const AVFrame& frame) {
  switch (frame.format) {  // the old formats that say so themselves
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
      return true;
    default:
      return frame.color_range == AVCOL_RANGE_JPEG;
  }
}

// RGB rows `stride` bytes apart, turned and mirrored.
std::vector<uint8_t> oriented(const uint8_t* rows, int64_t stride, int64_t wide, int64_t high,
                              const Orientation& orientation) {
  const int64_t width = orientation.transposed ? high : wide;
  const int64_t height = orientation.transposed ? wide : high;
  std::vector<uint8_t> rgb(static_cast<size_t>(3 * width * height));
  for (int64_t y = 0; y < height; ++y) {
    uint8_t* to = rgb.data() + 3 * y * width;
    const int64_t v = orientation.mirrored_y ? height - 1 - y : y;
    if (!orientation.transposed && !orientation.mirrored_x) {
      std::memcpy(to, rows + v * stride, static_cast<size_t>(3 * width));
      continue;
    }
    for (int64_t x = 0; x < width; ++x, to += 3) {
      const int64_t u = orientation.mirrored_x ? width - 1 - x : x;
      std::memcpy(to, orientation.transposed ? rows + u * stride + 3 * v : rows + v * stride + 3 * u, 3);
    }
  }
  return rgb;
}

}  // namespace

Orientation orientation_of(const int32_t* matrix) {
  const auto size = [](int32_t value) { return std::abs(static_cast<int64_t>(value)); };
  const int32_t a = matrix[0];
  const int32_t b = matrix[1];
  const int32_t c = matrix[3];
  const int32_t d = matrix[4];
  if (size(b) + size(c) > size(a) + size(d)) return {true, c < 0, b < 0};
  return {false, a < 0, d < 0};
}

Image FrameConverter::convert(const AVFrame& frame, AVRational aspect, const Orientation& orientation) {
  const int width = frame.width;
  const int height = frame.height;
  CHECK_INPUT(width > 0 && height > 0 && width <= kMostFrameSide && height <= kMostFrameSide &&
                  int64_t{width} * height <= kMostFramePixels,
              name_, ": a frame of ", width, " x ", height, " pixels is too large");
  int wide = width;
  int high = height;
  if (aspect.num > 0 && aspect.den > 0 && aspect.num != aspect.den) {
    const double ratio = std::clamp(av_q2d(aspect), 0.05, 20.0);
    if (ratio > 1) wide = std::min(kMostFrameSide, static_cast<int>(std::lround(width * ratio)));
    if (ratio < 1) high = std::min(kMostFrameSide, static_cast<int>(std::lround(height / ratio)));
    if (int64_t{wide} * high > kMostFramePixels) wide = width, high = height;
  }
  const std::array<int, 7> shape{
      width, height, wide, high, frame.format, frame.colorspace, is_full_range(frame)};
  if (!scaler_ || shape_ != shape) {
    scaler_.reset(sws_getContext(
        width, height, static_cast<AVPixelFormat>(frame.format), wide, high, AV_PIX_FMT_RGB24,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP, nullptr, nullptr, nullptr));
    CHECK_INPUT(scaler_ != nullptr, name_, ": pixel format ", frame.format, " cannot be converted");
    // swscale's table is numbered as ISO/IEC 23091-2's matrix coefficients; what it lacks (YCgCo among it)
    // and YCbCr that calls itself RGB is read as BT.601, by ffmpeg too.
    const int* coefficients =
        sws_getCoefficients(frame.colorspace == AVCOL_SPC_RGB ? SWS_CS_ITU601 : frame.colorspace);
    sws_setColorspaceDetails(scaler_.get(), coefficients, is_full_range(frame) ? 1 : 0, coefficients, 1, 0,
                             1 << 16, 1 << 16);
    shape_ = shape;
  }
  // swscale may write a little past a row: rows are padded here and cut below.
  const int stride = (3 * wide + 63) / 64 * 64;
  padded_.resize(static_cast<size_t>(stride) * static_cast<size_t>(high) + 64);
  uint8_t* planes[4] = {padded_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {stride, 0, 0, 0};
  sws_scale(scaler_.get(), frame.data, frame.linesize, 0, height, planes, strides);
  Image image;
  image.width = orientation.transposed ? high : wide;
  image.height = orientation.transposed ? wide : high;
  image.rgb = oriented(padded_.data(), stride, wide, high, orientation);
  return image;
}

}  // namespace clipcap
