// Pooling over channels-last pictures: the largest number under a moving window, and the mean of a whole
// picture. For inference: no backward (see conv2d.h).
//
// Equation   max: y[n,i,j,c] = max_{u,v < K} x[n, s*i+u-p, s*j+v-p, c] over the pixels inside the picture
//            mean: y[n,c] = 1/(HW) sum_{i,j} x[n,i,j,c]
// Shapes     x [N,H,W,C]; max: y [N,H',W',C], H' = floor((H + 2p - K) / s) + 1; mean: y [N,C].
//            max: 2p <= K, so that every window meets the picture. N = 0 and C = 0 are allowed.
// Layout     contiguous, channels last.
// Numerics   max: exact; a NaN under the window is the result, as it is for the mean.
//            mean: float, row by row, the rows' sums in order; of no pixel (HW = 0) NaN.
// Errors     max: a window that fits nowhere (H' or W' below 1) or is impossible (K or s below 1, p below 0
//            or above K/2) throws Error before anything is written.
// Determinism bitwise for any thread count: a thread owns whole outputs.
// Cost       reads 4*N*H*W*C bytes (max: from a cache K^2/s^2 times), writes 4*N*H'*W'*C or 4*N*C.
#pragma once

#include <cstdint>

#include "tensor/kernels/conv2d.h"
#include "tensor/op.h"

namespace clipcap {

template <class T>
struct MaxPool2d {
  const T* x = nullptr;  // [N,H,W,C]
  T* y = nullptr;        // [N,H',W',C]
  int64_t n = 0;         // pictures
  int64_t h = 0;         // of x
  int64_t w = 0;         // of x
  int64_t c = 0;         // channels
  int64_t kernel = 0;    // K, pixels a side
  int64_t stride = 0;    // s
  int64_t padding = 0;   // p
};

template <class T>
struct MeanPool2d {
  const T* x = nullptr;  // [N,H,W,C]
  T* y = nullptr;        // [N,C]
  int64_t n = 0;         // pictures
  int64_t h = 0;
  int64_t w = 0;
  int64_t c = 0;  // channels
};

/// K^2 comparisons an output; every input is read once.
template <class T>
[[nodiscard]] Cost cost(const MaxPool2d<T>& p) {
  const auto window = static_cast<double>(p.kernel);
  const auto inputs = static_cast<double>(p.n * p.h * p.w * p.c);
  const auto outputs = static_cast<double>(p.n * window_positions(p.h, p.kernel, p.stride, p.padding) *
                                           window_positions(p.w, p.kernel, p.stride, p.padding) * p.c);
  return {window * window * outputs, inputs * sizeof(T), outputs * sizeof(T)};
}
template <class T>
[[nodiscard]] Cost cost(const MeanPool2d<T>& p) {
  const auto inputs = static_cast<double>(p.n * p.h * p.w * p.c);
  return {inputs, inputs * sizeof(T), static_cast<double>(p.n * p.c) * sizeof(T)};
}

extern Op<MaxPool2d> max_pool2d;
extern Op<MeanPool2d> mean_pool2d;

namespace reference {
template <class T>
void max_pool2d(const MaxPool2d<T>& p);
template <class T>
void mean_pool2d(const MeanPool2d<T>& p);
}  // namespace reference

}  // namespace clipcap
