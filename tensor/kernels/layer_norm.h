// Layer normalisation over the last dimension, optionally of a sum (residual added first).
//
// Equation   s = x (+ residual);  y = (s - mean(s)) / sqrt(var(s) + eps) * gamma + beta
//            (Ba et al. 2016, eq. 4)
// Shapes     x, y, residual, sum [N,D]; gamma, beta [D]; mean, rstd [N]. N flattened rows, D width.
// Layout     contiguous rows; y may be x.
// Saved      mean and rstd, one each a row; backward recomputes x-hat from the saved input s.
// Numerics   float accumulation (double in the oracle); variance in a second pass over the row (never
//            E[x^2]-E[x]^2); biased variance, as every framework. D = 0 or N = 0: nothing is written
//            (backward writes zeros to dgamma and dbeta for N = 0).
// Determinism bitwise for one thread count: dgamma and dbeta are summed over the rows of as many pieces as
//            there are threads, then over the pieces in order; the same inside other parallel work.
// Cost       forward reads 4ND (8ND with residual) and writes 4ND bytes (8ND with sum);
//            backward reads 8ND (12ND with ds_in) and writes 4ND.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct LayerNormFwd {
  const T* x = nullptr;         // [N,D]
  const T* residual = nullptr;  // [N,D] or null: added to x before normalising
  const T* gamma = nullptr;     // [D]
  const T* beta = nullptr;      // [D]
  T* sum = nullptr;  // [N,D] or null: x + residual (required when residual is given and backward will run)
  T* y = nullptr;    // [N,D]
  Real<T>* mean = nullptr;  // [N] or null
  Real<T>* rstd = nullptr;  // [N] or null: 1/sqrt(var + eps)
  int64_t rows = 0;         // N
  int64_t dim = 0;          // D
  Real<T> eps = 0;
};

template <class T>
struct LayerNormBwd {
  const T* dy = nullptr;          // [N,D]
  const T* s = nullptr;           // [N,D] the normalised input (x, or the sum)
  const T* gamma = nullptr;       // [D]
  const Real<T>* mean = nullptr;  // [N]
  const Real<T>* rstd = nullptr;  // [N]
  const T* ds_in = nullptr;       // [N,D] or null: gradient that reaches s by another path, added to ds
  T* ds = nullptr;                // [N,D]
  T* dgamma = nullptr;            // [D] overwritten
  T* dbeta = nullptr;             // [D] overwritten
  int64_t rows = 0;
  int64_t dim = 0;
};

/// Eight operations an element: two for the mean, three for the variance, three to normalise and scale.
template <class T>
[[nodiscard]] Cost cost(const LayerNormFwd<T>& p) {
  const auto rows = static_cast<double>(p.rows);
  const auto dim = static_cast<double>(p.dim);
  const double statistics =
      rows * ((p.mean != nullptr ? 1 : 0) + (p.rstd != nullptr ? 1 : 0)) * sizeof(Real<T>);
  return {8 * rows * dim, (rows * dim * (p.residual != nullptr ? 2 : 1) + 2 * dim) * sizeof(T),
          rows * dim * (p.sum != nullptr && p.residual != nullptr ? 2 : 1) * sizeof(T) + statistics};
}
/// Fourteen operations an element: x-hat, two sums over the row, two over the column, and the combination.
template <class T>
[[nodiscard]] Cost cost(const LayerNormBwd<T>& p) {
  const auto rows = static_cast<double>(p.rows);
  const auto dim = static_cast<double>(p.dim);
  return {14 * rows * dim,
          (rows * dim * (p.ds_in != nullptr ? 3 : 2) + dim) * sizeof(T) + 2 * rows * sizeof(Real<T>),
          (rows * dim + 2 * dim) * sizeof(T)};
}

extern Op<LayerNormFwd> layer_norm_fwd;
extern Op<LayerNormBwd> layer_norm_bwd;

namespace reference {  // the oracle: float, double, bfloat16
template <class T>
void layer_norm_fwd(const LayerNormFwd<T>& p);
template <class T>
void layer_norm_bwd(const LayerNormBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
