// Register-tiled matrix product on small row-major blocks, the inner loop of attention and the LSTM. Only for
// isa/*.cpp.
#pragma once

#include "tensor/kernels/simd.h"

namespace clipcap::CLIPCAP_ISA {

// The largest tile keeps kTileRows * kTileVectors accumulators in registers (32 with AVX-512, else 16).
#if defined(__AVX2__) && !defined(__AVX512F__)
inline constexpr int kTileVectors = 2;
#else
inline constexpr int kTileVectors = 4;
#endif
inline constexpr int kTileRows = 6;

/// All lanes x. Subtracting zero is exact for every x (adding it is not, for -0), so it costs no instruction.
CLIPCAP_INLINE Vec splat(float x) { return x - Vec{}; }

CLIPCAP_INLINE int64_t round_up(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

/// acc[M][N vectors] += A[M,depth] B[depth, N vectors]. A's element (m,k) is at a[m * lda + k], or a[m + k *
/// lda] if transposed. The sum over k runs in order, so a result does not depend on the tile's shape.
template <int M, int N, bool kTransposed>
CLIPCAP_INLINE void tile_product(Vec (&acc)[M][N], int64_t depth, const float* a, int64_t lda, const float* b,
                                 int64_t ldb) {
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[N];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) right[n] = load(b + k * ldb + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Vec left = splat(kTransposed ? a[k * lda + m] : a[m * lda + k]);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) acc[m][n] += left * right[n];
    }
  }
}

/// e^x for x <= 0 (about 2e-7 relative): 0 below -87.3, and NaN stays NaN. Cheaper than exp(): one exponent
/// shift.
CLIPCAP_INLINE Vec exp_nonpositive(Vec x) {
  const VecInt tiny = x < splat(-87.3F);
  x = select(tiny, splat(-87.3F), x);
  const Vec magic = splat(12582912.0F);  // 1.5 * 2^23: rounds to the nearest integer
  const Vec shifted = x * 1.44269504F + magic;
  const Vec n = shifted - magic;
  Vec r = x - n * 0.693145752F;
  r = r - n * 1.42860677e-6F;
  Vec poly = splat(1.9875691500e-4F);
  poly = poly * r + 1.3981999507e-3F;
  poly = poly * r + 8.3334519073e-3F;
  poly = poly * r + 4.1665795894e-2F;
  poly = poly * r + 1.6666665459e-1F;
  poly = poly * r + 5.0000001201e-1F;
  poly = poly * r * r + r + 1.0F;
  VecInt exponent;
  VecInt bits;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  __builtin_memcpy(&bits, &poly, sizeof bits);
  bits += exponent << 23;  // the magic number's own low bits are zero
  __builtin_memcpy(&poly, &bits, sizeof poly);
  return select(tiny, Vec{}, poly);
}

}  // namespace clipcap::CLIPCAP_ISA
