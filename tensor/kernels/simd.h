// One vector of floats in the width of the instruction set this file is compiled for (see isa.h), written
// with the compilers' vector extension so that the same kernel text serves AVX2, AVX-512 and NEON. Only for
// the files in isa/.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef CLIPCAP_ISA
#error "tensor/kernels/simd.h is only for the per-instruction-set files in tensor/kernels/isa"
#endif

namespace clipcap::CLIPCAP_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));         // kLanes floats
typedef int32_t VecInt __attribute__((vector_size(kLanes * 4)));    // comparison masks: 0 or -1 a lane
typedef uint32_t VecBits __attribute__((vector_size(kLanes * 4)));  // for arithmetic on bits that may wrap

#define CLIPCAP_INLINE [[gnu::always_inline]] static inline

CLIPCAP_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
CLIPCAP_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
/// All lanes x. Subtracting zero is exact for every x (adding it is not, for -0), so it costs no instruction.
CLIPCAP_INLINE Vec broadcast(float x) { return x - Vec{}; }
/// The first `count` (< kLanes) floats; the other lanes hold `fill`.
CLIPCAP_INLINE Vec load_partial(const float* p, int64_t count, float fill = 0.0F) {
  Vec v = broadcast(fill);
  __builtin_memcpy(&v, p, static_cast<size_t>(count) * 4);
  return v;
}
CLIPCAP_INLINE void store_partial(float* p, Vec v, int64_t count) {
  __builtin_memcpy(p, &v, static_cast<size_t>(count) * 4);
}
/// The same for any `width` <= kLanes: the body of each_vector.
CLIPCAP_INLINE Vec load_width(const float* p, int64_t width, float fill = 0.0F) {
  return width == kLanes ? load(p) : load_partial(p, width, fill);
}
CLIPCAP_INLINE void store_width(float* p, Vec v, int64_t width) {
  width == kLanes ? store(p, v) : store_partial(p, v, width);
}
/// Calls body(index, width) for the vectors of a row of `count`; `width` < kLanes only for the last.
template <class Body>
CLIPCAP_INLINE void each_vector(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, static_cast<int64_t>(kLanes));
  if (i < count) body(i, count - i);
}
CLIPCAP_INLINE Vec select(VecInt mask, Vec a, Vec b) { return mask ? a : b; }
CLIPCAP_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
CLIPCAP_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
CLIPCAP_INLINE Vec abs(Vec a) {
  VecInt bits;
  __builtin_memcpy(&bits, &a, sizeof a);
  bits &= 0x7fffffff;
  __builtin_memcpy(&a, &bits, sizeof a);
  return a;
}

/// Sum of the lanes in a fixed (pairwise) order.
CLIPCAP_INLINE float sum(Vec v) {
  float lane[kLanes];
  store(lane, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}
CLIPCAP_INLINE float max(Vec v) {
  float lane[kLanes];
  store(lane, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
  }
  return lane[0];
}

/// Nearest integer n to x / ln 2 as kRoundingMagic + n: the low bits of the float are then n itself.
inline constexpr float kRoundingMagic = 12582912.0F;  // 1.5 * 2^23
CLIPCAP_INLINE Vec shifted_exponent(Vec x) { return x * 1.44269504F + kRoundingMagic; }

/// e^(x - n ln 2) for |x - n ln 2| <= ln2/2: Cody-Waite reduction, degree-6 minimax polynomial.
CLIPCAP_INLINE Vec exp_fraction(Vec x, Vec n) {
  Vec r = x - n * 0.693145752F;
  r = r - n * 1.42860677e-6F;
  Vec poly = broadcast(1.9875691500e-4F);
  poly = poly * r + 1.3981999507e-3F;
  poly = poly * r + 8.3334519073e-3F;
  poly = poly * r + 4.1665795894e-2F;
  poly = poly * r + 1.6666665459e-1F;
  poly = poly * r + 5.0000001201e-1F;
  return poly * r * r + r + 1.0F;
}

/// e^x, relative error below 2e-7 on [-87.3, 88.7]; 0 below (also for -inf), clamped to e^88.7 above; a NaN
/// stays one.
CLIPCAP_INLINE Vec exp(Vec x) {
  const VecInt tiny = x < broadcast(-87.3F);
  x = min(broadcast(88.7F), max(broadcast(-87.3F), x));  // in this order a NaN passes both
  const Vec shifted = shifted_exponent(x);
  const Vec fraction = exp_fraction(x, shifted - kRoundingMagic);
  VecInt exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  // 2^n in two halves, so that n = 128 does not overflow the exponent field before the product does.
  exponent -= 0x4b400000;
  const VecInt half = exponent >> 1;
  const VecInt first_bits = (half + 127) << 23;
  const VecInt second_bits = (exponent - half + 127) << 23;
  Vec first;
  Vec second;
  __builtin_memcpy(&first, &first_bits, sizeof first);
  __builtin_memcpy(&second, &second_bits, sizeof second);
  return select(tiny, Vec{}, fraction * first * second);
}

/// e^x for x <= 0 (about 2e-7 relative): 0 below -87.3, and NaN stays NaN. Cheaper than exp(): the exponent
/// is shifted once.
CLIPCAP_INLINE Vec exp_nonpositive(Vec x) {
  const VecInt tiny = x < broadcast(-87.3F);
  x = select(tiny, broadcast(-87.3F), x);
  const Vec shifted = shifted_exponent(x);
  Vec value = exp_fraction(x, shifted - kRoundingMagic);
  VecBits exponent;
  VecBits bits;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  __builtin_memcpy(&bits, &value, sizeof bits);
  // The magic number's own low bits are zero. Unsigned: beside a NaN in its row, x may be above 0 and wrap.
  bits += exponent << 23;
  __builtin_memcpy(&value, &bits, sizeof value);
  return select(tiny, Vec{}, value);
}

CLIPCAP_INLINE Vec sigmoid(Vec x) { return 1.0F / (1.0F + exp(-x)); }
/// tanh by the odd identity on |x| (no cancellation for large x); a short series near zero keeps the error
/// small beside the result.
CLIPCAP_INLINE Vec tanh(Vec x) {
  const Vec magnitude = abs(x);
  const Vec e = exp(magnitude * -2.0F);
  const Vec large = (1.0F - e) / (1.0F + e);
  const Vec x2 = x * x;
  const Vec small = magnitude * (1.0F + x2 * (-0.333333333F + x2 * (0.133333333F + x2 * -0.0539682540F)));
  const Vec result = select(magnitude < broadcast(0.1F), small, large);
  return select(x < Vec{}, -result, result);
}

/// erf, within 2 units in the last place. Below 475/512 an odd polynomial; above, 1 - e^p(|x|) with a
/// polynomial p (both minimax, after N. Juffa's erff); 1 from 4 on, where float has nothing between.
CLIPCAP_INLINE Vec erf(Vec x) {
  const Vec magnitude = abs(x);
  const Vec t = min(magnitude, broadcast(4.0F));
  const Vec t2 = t * t;
  Vec high = (t * -1.72853470e-5F + 3.83197126e-4F) * t2 + (t * -3.88396438e-3F + 2.42546219e-2F);
  high = high * t - 1.06777877e-1F;
  high = high * t - 6.34846687e-1F;
  high = high * t - 1.28717512e-1F;
  high = 1.0F - exp(high * t - t);
  Vec low = broadcast(-5.96761703e-4F);
  low = low * t2 + 4.99119423e-3F;
  low = low * t2 - 2.67681349e-2F;
  low = low * t2 + 1.12819925e-1F;
  low = low * t2 - 3.76125336e-1F;
  low = low * t2 + 1.28379166e-1F;
  low = low * t + t;
  const Vec result = select(magnitude > broadcast(0.927734375F), high, low);
  return select(x < Vec{}, -result, result);
}

CLIPCAP_INLINE Vec sqrt(Vec x) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_maskz_sqrt_ps(0xffff, reinterpret_cast<__m512>(x)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_sqrt_ps(reinterpret_cast<__m256>(x)));
#else
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

}  // namespace clipcap::CLIPCAP_ISA
