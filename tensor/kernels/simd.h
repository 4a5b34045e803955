// One vector of floats in the width of the instruction set this file is compiled for (see isa.h), written with the
// compilers' vector extension so that the same kernel text serves AVX2, AVX-512 and NEON. Only for isa/*.cpp.
#pragma once

#include <cstdint>
#include <cstring>

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

typedef float Vec __attribute__((vector_size(kLanes * 4)));       // kLanes floats
typedef int32_t VecInt __attribute__((vector_size(kLanes * 4)));  // comparison masks: 0 or -1 a lane

#define CLIPCAP_INLINE [[gnu::always_inline]] static inline

CLIPCAP_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
CLIPCAP_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
CLIPCAP_INLINE Vec broadcast(float x) { return Vec{} + x; }
/// The first `count` (< kLanes) floats; the other lanes hold `fill`.
CLIPCAP_INLINE Vec load_partial(const float* p, int64_t count, float fill = 0.0F) {
  Vec v = broadcast(fill);
  __builtin_memcpy(&v, p, static_cast<size_t>(count) * 4);
  return v;
}
CLIPCAP_INLINE void store_partial(float* p, Vec v, int64_t count) {
  __builtin_memcpy(p, &v, static_cast<size_t>(count) * 4);
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

/// e^x, relative error below 2e-7 on [-87.3, 88.7]; 0 below (also for -inf), clamped to e^88.7 above.
/// Cody-Waite reduction to [-ln2/2, ln2/2], degree-6 polynomial (minimax coefficients), exponent by bit shift.
CLIPCAP_INLINE Vec exp(Vec x) {
  const VecInt tiny = x < broadcast(-87.3F);
  x = min(max(x, broadcast(-87.3F)), broadcast(88.7F));
  const Vec scaled = x * 1.44269504F;
  // Adding and subtracting 1.5*2^23 rounds to the nearest integer.
  const Vec magic = broadcast(12582912.0F);
  const Vec shifted = scaled + magic;
  VecInt exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  const Vec n = shifted - magic;
  Vec r = x - n * 0.693145752F;
  r = r - n * 1.42860677e-6F;
  Vec poly = broadcast(1.9875691500e-4F);
  poly = poly * r + 1.3981999507e-3F;
  poly = poly * r + 8.3334519073e-3F;
  poly = poly * r + 4.1665795894e-2F;
  poly = poly * r + 1.6666665459e-1F;
  poly = poly * r + 5.0000001201e-1F;
  poly = poly * r * r + r + 1.0F;
  // 2^n in two halves, so that n = 128 does not overflow the exponent field before the product does.
  exponent -= 0x4b400000;
  const VecInt half = exponent >> 1;
  const VecInt first_bits = (half + 127) << 23;
  const VecInt second_bits = (exponent - half + 127) << 23;
  Vec first;
  Vec second;
  __builtin_memcpy(&first, &first_bits, sizeof first);
  __builtin_memcpy(&second, &second_bits, sizeof second);
  return select(tiny, Vec{}, poly * first * second);
}

CLIPCAP_INLINE Vec sigmoid(Vec x) { return 1.0F / (1.0F + exp(-x)); }
/// tanh by the odd identity on |x| (no cancellation for large x); a short series near zero keeps relative accuracy.
CLIPCAP_INLINE Vec tanh(Vec x) {
  const Vec magnitude = abs(x);
  const Vec e = exp(magnitude * -2.0F);
  const Vec large = (1.0F - e) / (1.0F + e);
  const Vec x2 = x * x;
  const Vec small = magnitude * (1.0F + x2 * (-0.333333333F + x2 * (0.133333333F + x2 * -0.0539682540F)));
  const Vec result = select(magnitude < broadcast(0.1F), small, large);
  return select(x < Vec{}, -result, result);
}

/// erf by Abramowitz and Stegun 7.1.26's form with a degree-5 tail (absolute error below 1.5e-7), odd by construction;
/// a series near zero keeps relative accuracy.
CLIPCAP_INLINE Vec erf(Vec x) {
  const Vec magnitude = abs(x);
  const Vec t = 1.0F / (1.0F + magnitude * 0.3275911F);
  Vec tail = broadcast(1.061405429F);
  tail = tail * t - 1.453152027F;
  tail = tail * t + 1.421413741F;
  tail = tail * t - 0.284496736F;
  tail = tail * t + 0.254829592F;
  const Vec large = 1.0F - tail * t * exp(-magnitude * magnitude);
  const Vec x2 = x * x;
  const Vec small = magnitude * (1.12837917F + x2 * (-0.376126389F + x2 * (0.112837917F + x2 * (-0.0268661706F + x2 * 0.00522397762F))));
  const Vec result = select(magnitude < broadcast(0.5F), small, large);
  return select(x < Vec{}, -result, result);
}

}  // namespace clipcap::CLIPCAP_ISA
