// Dropout, optionally added to a residual; backward is the same op on the gradient (without the residual).
//
// Equation   y = residual + x * keep / (1 - p);  keep_i = uniform_i >= p  (Srivastava et al. 2014, inverted
// form)
//            uniform_i = uniform_from_bits(philox(seed, stream, i / 4).v[i % 4])
// Shapes     x, residual, y: `numel` numbers, any shape.
// Layout     contiguous; y may be x or residual.
// Saved      seed and stream, 16 bytes: backward draws the same mask again.
// Numerics   0 <= p < 1; p = 0 keeps everything and draws nothing.
// Determinism bitwise, for any thread count and device: the mask is a function of (seed, stream, i).
// Cost       reads 4 (8 with residual) and writes 4 bytes an element; one Philox call for four elements.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct Dropout {
  const T* x;
  const T* residual;  // or null
  T* y;
  int64_t numel;
  float p;  // probability of dropping
  uint64_t seed;
  uint64_t stream;
};

extern Op<void(const Dropout<float>&)> dropout;

namespace reference {
template <class T>
void dropout(const Dropout<T>& p);
}  // namespace reference

}  // namespace clipcap
