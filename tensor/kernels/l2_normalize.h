// Rows of length one (CLIP's features before they are compared: Radford et al. 2021, figure 3), forward and backward.
//
// Equation   y = x / max(|x|, eps), |x| the 2-norm of a row
//            dx = (dy - y * sum(dy * y)) / |x|; where |x| <= eps, dx = dy / eps
// Shapes     x, y, dy, dx [rows,D]; norm [rows].
// Layout     contiguous; y may be x, dx may be dy.
// Saved      y and norm: x is not needed again.
// Numerics   sums in double; norm is Real<T>.
// Determinism bitwise for any thread count; rows are independent.
// Cost       forward reads and writes 4 rows D bytes; backward reads twice that and writes as much.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

inline constexpr double kL2NormalizeEps = 1e-12;

template <class T>
struct L2NormalizeFwd {
  const T* x = nullptr;     // [rows,D]
  T* y = nullptr;           // [rows,D]
  Real<T>* norm = nullptr;  // [rows]: max(|x|, eps)
  int64_t rows = 0;
  int64_t dim = 0;  // D
};

template <class T>
struct L2NormalizeBwd {
  const T* y = nullptr;           // [rows,D], what forward gave
  const Real<T>* norm = nullptr;  // [rows], likewise
  const T* dy = nullptr;          // [rows,D]
  T* dx = nullptr;                // [rows,D]
  int64_t rows = 0;
  int64_t dim = 0;  // D
};

/// A square, a sum and a division an element.
template <class T>
[[nodiscard]] Cost cost(const L2NormalizeFwd<T>& p) {
  const double elements = static_cast<double>(p.rows) * static_cast<double>(p.dim);
  return {3 * elements, elements * sizeof(T),
          elements * sizeof(T) + static_cast<double>(p.rows) * sizeof(Real<T>)};
}
/// A product and its sum, then a product, a difference and a division an element.
template <class T>
[[nodiscard]] Cost cost(const L2NormalizeBwd<T>& p) {
  const double elements = static_cast<double>(p.rows) * static_cast<double>(p.dim);
  return {5 * elements, 2 * elements * sizeof(T) + static_cast<double>(p.rows) * sizeof(Real<T>),
          elements * sizeof(T)};
}

extern Op<L2NormalizeFwd> l2_normalize_fwd;
extern Op<L2NormalizeBwd> l2_normalize_bwd;

namespace reference {
template <class T>
void l2_normalize_fwd(const L2NormalizeFwd<T>& p);
template <class T>
void l2_normalize_bwd(const L2NormalizeBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
