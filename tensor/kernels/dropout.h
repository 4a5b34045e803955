// Inverted dropout with an optional residual; the mask is recomputed from its counters, never stored.
//
// Equation   y_i = residual_i + x_i * keep_i / (1 - p),  keep_i = [uniform(seed, stream, i) >= p]
//            (Srivastava et al. 2014)
// Shapes     any, N elements.
// Layout     contiguous; y may be x or residual.
// Saved      nothing: backward is the same op on dy with the same seed and stream.
// Determinism bitwise on every device and thread count: element i uses word i%4 of philox(seed, stream, i/4).
// Cost       reads 4N (8N with residual), writes 4N bytes.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct Dropout {
  const T* x = nullptr;         // [N]
  const T* residual = nullptr;  // [N] or null
  T* y = nullptr;               // [N]
  int64_t numel = 0;            // N
  float p = 0;                  // probability of a zero, [0,1)
  uint64_t seed = 0;
  uint64_t stream = 0;
};

/// Drawing the mask is not counted; a product an element, a sum with a residual.
template <class T>
[[nodiscard]] Cost cost(const Dropout<T>& p) {
  const auto count = static_cast<double>(p.numel);
  const double inputs = p.residual != nullptr ? 2 : 1;
  return {inputs * count, inputs * count * sizeof(T), count * sizeof(T)};
}

extern Op<Dropout> dropout;

namespace reference {
template <class T>
void dropout(const Dropout<T>& p);
}  // namespace reference

}  // namespace clipcap
