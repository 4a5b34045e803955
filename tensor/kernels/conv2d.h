// 2-d convolution (cross-correlation, as everywhere in deep learning) over channels-last pictures, for
// inference: no backward, so nothing that is trained may stand before or in it.
//
// Equation   y[n,i,j,o] = f(bias[o] + sum_{u,v,c} x[n, s*i+u-p, s*j+v-p, c] * weight[o,c,u,v] +
//            residual[n,i,j,o]), f = ReLU or nothing, s = stride, p = padding, x = 0 outside the picture
// Shapes     x [N,H,W,C]; weight [O,C,KH,KW]; bias [O]; residual, y [N,H',W',O],
//            H' = floor((H + 2p - KH) / s) + 1. N = 0 is allowed.
// Layout     contiguous, channels last; y may be residual, not x.
// Prepared   a weight made ready once by prepare_conv2d, as for products (tensor/kernels/matmul.h). Without
//            one, conv2d_fwd does that in every call.
// Numerics   float accumulation, in an order chosen by the library (oneDNN) from the shape, the instruction
//            set and the thread count. ReLU is the library's maximum with 0, which turns a NaN into 0 (the
//            reference keeps it); without ReLU a NaN shows.
// Errors     a geometry that is not possible, a window that fits nowhere, or a weight prepared for another
//            device, dtype or geometry throws Error.
// Determinism bitwise for one thread count.
// Cost       2*N*H'*W'*O*C*KH*KW FLOPs; reads 4*(N*H*W*C + O*C*KH*KW) bytes, writes 4*N*H'*W'*O.
#pragma once

#include <cstdint>
#include <memory>

#include "tensor/kernels/prepared_weight.h"
#include "tensor/op.h"

namespace clipcap {

/// What a convolution is, apart from its numbers.
struct Conv2dGeometry {
  int64_t in_channels = 0;   // C
  int64_t out_channels = 0;  // O
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride = 1;   // both ways
  int64_t padding = 0;  // zeros on every side, fewer than the kernel has rows and columns

  bool operator==(const Conv2dGeometry&) const = default;
  [[nodiscard]] int64_t weights() const { return out_channels * in_channels * kernel_h * kernel_w; }
};

/// Positions of a window of `kernel` along `size` pixels with `padding` on both sides; at most 0 when it
/// fits nowhere.
[[nodiscard]] constexpr int64_t window_positions(int64_t size, int64_t kernel, int64_t stride,
                                                 int64_t padding) {
  const int64_t room = size + 2 * padding - kernel;
  return room < 0 ? 0 : room / stride + 1;
}

template <class T>
struct Conv2dFwd {
  const T* x = nullptr;         // [N,H,W,C]
  const T* weight = nullptr;    // [O,C,KH,KW]; null when there is a prepared one
  const T* bias = nullptr;      // [O] or null
  const T* residual = nullptr;  // [N,H',W',O] or null
  T* y = nullptr;               // [N,H',W',O]
  int64_t n = 0;                // pictures
  int64_t h = 0;                // of x
  int64_t w = 0;                // of x
  Conv2dGeometry geometry = {};
  bool relu = false;
  const PreparedWeight* prepared = nullptr;  // in place of weight
};

template <class T>
struct PrepareConv2d {
  const T* weight = nullptr;  // [O,C,KH,KW]; copied, so that it may be freed afterwards
  Conv2dGeometry geometry = {};
  std::shared_ptr<const PreparedWeight>* prepared = nullptr;  // [1] written
};

template <class T>
[[nodiscard]] Cost cost(const Conv2dFwd<T>& p) {
  const Conv2dGeometry& g = p.geometry;
  const auto outputs =
      static_cast<double>(p.n * window_positions(p.h, g.kernel_h, g.stride, g.padding) *
                          window_positions(p.w, g.kernel_w, g.stride, g.padding) * g.out_channels);
  const auto inputs = static_cast<double>(p.n * p.h * p.w * g.in_channels);
  const auto taps = static_cast<double>(g.in_channels * g.kernel_h * g.kernel_w);
  return {2 * outputs * taps,
          (inputs + static_cast<double>(g.weights()) + (p.residual != nullptr ? outputs : 0)) * sizeof(T),
          outputs * sizeof(T)};
}

template <class T>
[[nodiscard]] Cost cost(const PrepareConv2d<T>& p) {
  const double bytes = static_cast<double>(p.geometry.weights()) * sizeof(T);
  return {0, bytes, bytes};
}

extern Op<Conv2dFwd> conv2d_fwd;
extern Op<PrepareConv2d> prepare_conv2d;

namespace reference {
template <class T>
void conv2d_fwd(const Conv2dFwd<T>& p);
/// A plain copy; the only kind that the reference takes.
template <class T>
void prepare_conv2d(const PrepareConv2d<T>& p);
}  // namespace reference

}  // namespace clipcap
