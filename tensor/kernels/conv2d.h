// 2-d convolution (cross-correlation, as everywhere in deep learning) over channels-last pictures, for
// inference: no backward, so nothing that is trained may stand before or in it.
//
// Equation   y[n,i,j,o] = f(bias[o] + sum_{u,v,c} x[n, s*i+u-p, s*j+v-p, c] * weight[o,c,u,v] +
//            residual[n,i,j,o]), f = ReLU or nothing, s = stride, p = padding, x = 0 outside the picture
// Shapes     x [N,H,W,C]; weight [O,C,KH,KW]; bias [O]; residual, y [N,H',W',O],
//            H' = floor((H + 2p - KH) / s) + 1. N = 0 is allowed.
// Layout     contiguous, channels last; y may be residual, not x.
// Numerics   float accumulation, in an order chosen by the library (oneDNN) from the shape, the instruction
//            set and the thread count. ReLU is the library's maximum with 0, which turns a NaN into 0 (the
//            reference keeps it); without ReLU a NaN shows.
// Determinism bitwise for one thread count.
// Cost       2*N*H'*W'*O*C*KH*KW FLOPs; reads 4*(N*H*W*C + O*C*KH*KW) bytes, writes 4*N*H'*W'*O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

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
  const T* x;         // [N,H,W,C]
  const T* weight;    // [O,C,KH,KW]
  const T* bias;      // [O] or null
  const T* residual;  // [N,H',W',O] or null
  T* y;               // [N,H',W',O]
  int64_t n;          // pictures
  int64_t h;          // of x
  int64_t w;          // of x
  Conv2dGeometry geometry;
  bool relu;
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

/// Throws Error when the geometry is not possible or the window fits nowhere.
extern Op<Conv2dFwd> conv2d_fwd;

/// The same with the weight reordered once into the library's own format. conv2d_fwd does that in every call.
class PackedConv2d {
 public:
  /// Copies what it needs: weight and bias (or null) may be freed afterwards. `residual` fixes whether run()
  /// adds one. The weight is reordered by the first run, when the size of the pictures is known.
  PackedConv2d(const float* weight, const float* bias, const Conv2dGeometry& geometry, bool relu,
               bool residual);
  ~PackedConv2d();
  PackedConv2d(PackedConv2d&& other) noexcept;
  PackedConv2d& operator=(PackedConv2d&& other) noexcept;

  /// x [n,h,w,C], residual (null exactly when built without) and y [n,H',W',O]; throws Error otherwise. Safe
  /// to call from several threads.
  void run(const float* x, int64_t n, int64_t h, int64_t w, const float* residual, float* y) const;

  [[nodiscard]] const Conv2dGeometry& geometry() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

namespace reference {
template <class T>
void conv2d_fwd(const Conv2dFwd<T>& p);
}  // namespace reference

}  // namespace clipcap
