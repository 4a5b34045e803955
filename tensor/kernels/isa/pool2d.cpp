#include "tensor/kernels/pool2d.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {

void max_pool2d(const MaxPool2d<float>& p) {
  // At least 1 each: tensor/kernels/pool2d.cpp refuses a window that fits nowhere.
  const int64_t out_h = (p.h + 2 * p.padding - p.kernel) / p.stride + 1;
  const int64_t out_w = (p.w + 2 * p.padding - p.kernel) / p.stride + 1;
  const int64_t pixels = p.n * out_h * out_w;
  parallel_for(pixels, 8192 / (p.c * p.kernel) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      // The part of the window inside the picture; never empty, so it can start from its first pixel.
      const int64_t top = at / out_w % out_h * p.stride - p.padding;
      const int64_t left = at % out_w * p.stride - p.padding;
      const int64_t row_begin = top > 0 ? top : 0;
      const int64_t row_end = top + p.kernel < p.h ? top + p.kernel : p.h;
      const int64_t column_begin = left > 0 ? left : 0;
      const int64_t column_end = left + p.kernel < p.w ? left + p.kernel : p.w;
      const float* picture = p.x + at / (out_h * out_w) * p.h * p.w * p.c;
      each_vector(p.c, [&](int64_t c, int64_t width) {
        Vec largest = load_width(picture + (row_begin * p.w + column_begin) * p.c + c, width);
        VecInt nan = largest != largest;
        for (int64_t row = row_begin; row < row_end; ++row) {
          for (int64_t column = column_begin; column < column_end; ++column) {
            const Vec value = load_width(picture + (row * p.w + column) * p.c + c, width);
            nan |= value != value;  // which max() may lose
            largest = max(value, largest);
          }
        }
        store_width(p.y + at * p.c + c, select(nan, broadcast(__builtin_nanf("")), largest), width);
      });
    }
  });
}

void mean_pool2d(const MeanPool2d<float>& p) {
  const auto area = static_cast<float>(p.h * p.w);
  const int64_t blocks = (p.c + kLanes - 1) / kLanes;
  parallel_for(p.n * blocks, 8192 / (p.h * p.w * kLanes + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t c = job % blocks * kLanes;
      const int64_t width = p.c - c < kLanes ? p.c - c : kLanes;
      const float* x = p.x + job / blocks * p.h * p.w * p.c + c;
      Vec total{};
      for (int64_t row = 0; row < p.h; ++row) {
        Vec partial{};  // a row's sum on its own: long sums lose less
        for (int64_t column = 0; column < p.w; ++column, x += p.c) partial += load_width(x, width);
        total += partial;
      }
      store_width(p.y + job / blocks * p.c + c, total / area, width);
    }
  });
}

}  // namespace clipcap::CLIPCAP_ISA
