// Philox on kLanes counters side by side; the loops over lanes are plain so that the compiler picks the
// widening multiply of each instruction set.
#include "tensor/kernels/dropout.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"
#include "tensor/random.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

constexpr int64_t kBlock = 4 * kLanes;  // elements a call: four for each counter

typedef uint32_t VecBits __attribute__((vector_size(kLanes * 4)));
typedef uint64_t VecWide __attribute__((vector_size(kLanes * 4)));

// High and low halves of a * b in every lane: products of the even lanes and of the odd lanes, put together.
CLIPCAP_INLINE void multiply(VecBits a, uint32_t b, VecBits& high, VecBits& low) {
  VecWide even;
  __builtin_memcpy(&even, &a, sizeof even);
  const VecWide odd = even >> 32;
#if defined(__AVX512F__)
  const VecWide factor = VecWide{} + b;
  const auto even_product = reinterpret_cast<VecWide>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(even), reinterpret_cast<__m512i>(factor)));
  const auto odd_product = reinterpret_cast<VecWide>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(odd), reinterpret_cast<__m512i>(factor)));
#elif defined(__AVX2__)
  const VecWide factor = VecWide{} + b;
  const auto even_product = reinterpret_cast<VecWide>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(even), reinterpret_cast<__m256i>(factor)));
  const auto odd_product = reinterpret_cast<VecWide>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(odd), reinterpret_cast<__m256i>(factor)));
#else
  const VecWide even_product = (even & 0xffffffffU) * b;
  const VecWide odd_product = odd * b;
#endif
  const VecWide high_wide = (even_product >> 32) | (odd_product & ~uint64_t{0xffffffffU});
  const VecWide low_wide = (even_product & 0xffffffffU) | (odd_product << 32);
  __builtin_memcpy(&high, &high_wide, sizeof high);
  __builtin_memcpy(&low, &low_wide, sizeof low);
}

// The same numbers as philox(seed, stream, first + lane) of tensor/random.h, in the order of the elements:
// bits[4 * lane + word].
CLIPCAP_INLINE void random_bits(uint64_t seed, uint64_t stream, uint64_t first, uint32_t* bits) {
  VecBits c0;
  VecBits c1;
  for (int lane = 0; lane < kLanes; ++lane) {
    c0[lane] = static_cast<uint32_t>(first + static_cast<uint64_t>(lane));
    c1[lane] = static_cast<uint32_t>((first + static_cast<uint64_t>(lane)) >> 32);
  }
  VecBits c2 = VecBits{} + static_cast<uint32_t>(stream);
  VecBits c3 = VecBits{} + static_cast<uint32_t>(stream >> 32);
  auto k0 = static_cast<uint32_t>(seed);
  auto k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    VecBits high0;
    VecBits low0;
    VecBits high1;
    VecBits low1;
    multiply(c0, 0xD2511F53U, high0, low0);
    multiply(c2, 0xCD9E8D57U, high1, low1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  uint32_t words[4][kLanes];
  __builtin_memcpy(words[0], &c0, sizeof c0);
  __builtin_memcpy(words[1], &c1, sizeof c1);
  __builtin_memcpy(words[2], &c2, sizeof c2);
  __builtin_memcpy(words[3], &c3, sizeof c3);
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int word = 0; word < 4; ++word) bits[4 * lane + word] = words[word][lane];
  }
}

}  // namespace

void dropout(const Dropout<float>& p) {
  const Vec factor = broadcast(1.0F / (1.0F - p.p));
  const Vec threshold = broadcast(p.p);
  parallel_for((p.numel + kBlock - 1) / kBlock, 256, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      uint32_t bits[kBlock];
      random_bits(p.seed, p.stream, static_cast<uint64_t>(block) * kLanes, bits);
      for (int64_t j = 0; j < kBlock; j += kLanes) {
        const int64_t at = block * kBlock + j;
        if (at >= p.numel) break;
        VecInt integer;
        __builtin_memcpy(&integer, bits + j, sizeof integer);
        integer = (integer >> 8) & 0xffffff;
        const VecInt keep = __builtin_convertvector(integer, Vec) * 0x1p-24F >= threshold;
        if (at + kLanes <= p.numel) {
          const Vec kept = select(keep, load(p.x + at) * factor, Vec{});
          store(p.y + at, p.residual != nullptr ? load(p.residual + at) + kept : kept);
        } else {
          const int64_t width = p.numel - at;
          const Vec kept = select(keep, load_partial(p.x + at, width) * factor, Vec{});
          store_partial(p.y + at, p.residual != nullptr ? load_partial(p.residual + at, width) + kept : kept,
                        width);
        }
      }
    }
  });
}

}  // namespace clipcap::CLIPCAP_ISA
