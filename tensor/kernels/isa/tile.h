// Register-tiled matrix product on small row-major blocks, the inner loop of attention and the LSTM. Only
// for the files in isa/.
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

CLIPCAP_INLINE int64_t round_up(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

/// acc[M][N vectors] += A[M,depth] B[depth, N vectors]. A's element (m,k) is at a[m * lda + k], or at
/// a[m + k * lda] if transposed. The sum over k runs in order, so results do not depend on the tile's shape.
template <int M, int N, bool kTransposed>
CLIPCAP_INLINE void tile_product(Vec (&acc)[M][N], int64_t depth, const float* a, int64_t lda, const float* b,
                                 int64_t ldb) {
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[N];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) right[n] = load(b + k * ldb + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Vec left = broadcast(kTransposed ? a[k * lda + m] : a[m * lda + k]);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) acc[m][n] += left * right[n];
    }
  }
}

}  // namespace clipcap::CLIPCAP_ISA
