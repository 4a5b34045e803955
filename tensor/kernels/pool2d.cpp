#include "tensor/kernels/pool2d.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(max_pool2d, MaxPool2d<float>)
CLIPCAP_ISA_KERNEL(mean_pool2d, MeanPool2d<float>)

namespace {

template <class T>
void check_window(const MaxPool2d<T>& p) {
  CHECK(p.kernel >= 1 && p.stride >= 1 && p.padding >= 0 && 2 * p.padding <= p.kernel,
        "max_pool2d: window of ", p.kernel, ", stride ", p.stride, ", padding ", p.padding,
        "; expected at least 1, at least 1, from 0 to half the window");
  CHECK(window_positions(p.h, p.kernel, p.stride, p.padding) >= 1 &&
            window_positions(p.w, p.kernel, p.stride, p.padding) >= 1,
        "max_pool2d: a picture of ", p.h, " x ", p.w, " under a window of ", p.kernel, ", padding ",
        p.padding);
}

void max_pool2d_checked(const MaxPool2d<float>& p) {
  check_window(p);
  if (p.n > 0 && p.c > 0) max_pool2d_cpu(p);
}

}  // namespace

Op<MaxPool2d> max_pool2d{"max_pool2d", max_pool2d_checked, reference::max_pool2d, reference::max_pool2d,
                         reference::max_pool2d};
Op<MeanPool2d> mean_pool2d{"mean_pool2d", mean_pool2d_cpu, reference::mean_pool2d, reference::mean_pool2d,
                           reference::mean_pool2d};

namespace reference {

template <class T>
void max_pool2d(const MaxPool2d<T>& p) {
  check_window(p);
  const int64_t out_h = window_positions(p.h, p.kernel, p.stride, p.padding);
  const int64_t out_w = window_positions(p.w, p.kernel, p.stride, p.padding);
  for (int64_t at = 0; at < p.n * out_h * out_w; ++at) {
    const int64_t n = at / (out_h * out_w);
    const int64_t top = at / out_w % out_h * p.stride - p.padding;
    const int64_t left = at % out_w * p.stride - p.padding;
    for (int64_t c = 0; c < p.c; ++c) {
      Real<T> largest = -std::numeric_limits<Real<T>>::infinity();
      for (int64_t row = std::max<int64_t>(top, 0); row < std::min(top + p.kernel, p.h); ++row) {
        for (int64_t column = std::max<int64_t>(left, 0); column < std::min(left + p.kernel, p.w); ++column) {
          const Real<T> value = real(p.x[((n * p.h + row) * p.w + column) * p.c + c]);
          if (value > largest || std::isnan(value)) largest = value;
        }
      }
      p.y[at * p.c + c] = static_cast<T>(largest);
    }
  }
}

template <class T>
void mean_pool2d(const MeanPool2d<T>& p) {
  for (int64_t n = 0; n < p.n; ++n) {
    for (int64_t c = 0; c < p.c; ++c) {
      Real<T> total = 0;
      for (int64_t i = 0; i < p.h * p.w; ++i) total += real(p.x[(n * p.h * p.w + i) * p.c + c]);
      p.y[n * p.c + c] = static_cast<T>(total / static_cast<Real<T>>(p.h * p.w));
    }
  }
}

template void max_pool2d(const MaxPool2d<float>&);
template void max_pool2d(const MaxPool2d<double>&);
template void max_pool2d(const MaxPool2d<bfloat16>&);
template void mean_pool2d(const MeanPool2d<float>&);
template void mean_pool2d(const MeanPool2d<double>&);
template void mean_pool2d(const MeanPool2d<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
