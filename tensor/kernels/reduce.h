// Sum over the middle dimension: column sums (bias gradients), sums over time, sums of everything.
//
// Equation   y[o,i] = sum_r x[o,r,i]
// Shapes     x [O,R,I] contiguous, y [O,I]. R = 0 gives zeros.
// Numerics   rows are added in order in blocks of 64, blocks in order, so long sums lose little; I = 1:
//            blocks of 64 vectors in float, the blocks' sums in double. Double throughout in the oracle.
// Determinism bitwise for any thread count: a thread owns whole columns.
// Cost       reads 4ORI bytes, writes 4OI.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct SumMiddle {
  const T* x = nullptr;  // [O,R,I]
  T* y = nullptr;        // [O,I]
  int64_t outer = 0;     // O
  int64_t reduce = 0;    // R
  int64_t inner = 0;     // I
};

template <class T>
[[nodiscard]] Cost cost(const SumMiddle<T>& p) {
  const auto columns = static_cast<double>(p.outer) * static_cast<double>(p.inner);
  const double elements = columns * static_cast<double>(p.reduce);
  return {elements, elements * sizeof(T), columns * sizeof(T)};
}

extern Op<SumMiddle> sum_middle;

namespace reference {
template <class T>
void sum_middle(const SumMiddle<T>& p);
}  // namespace reference

}  // namespace clipcap
