// Counter-based random numbers: Philox-4x32-10 (Salmon et al., SC'11). The value at (seed, stream, index)
// does not depend on threads, order or device, so a dropout mask is the same on the CPU and on a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define CLIPCAP_HOST_DEVICE __host__ __device__
#else
#define CLIPCAP_HOST_DEVICE
#endif

namespace clipcap {

struct Philox4 {
  uint32_t v[4];
};

/// Four independent 32-bit numbers for one (seed, stream, index).
CLIPCAP_HOST_DEVICE inline Philox4 philox(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t c0 = static_cast<uint32_t>(index);
  uint32_t c1 = static_cast<uint32_t>(index >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream);
  uint32_t c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53U) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57U) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {{c0, c1, c2, c3}};
}

/// Uniform in [0, 1) with 24 bits.
CLIPCAP_HOST_DEVICE inline float uniform_from_bits(uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24F;
}

/// A stream of random numbers whose whole state is two integers; saved in checkpoints so a resumed run goes
/// on exactly where it was. Every consumer takes a stream id of its own from next_stream().
class Generator {
 public:
  explicit Generator(uint64_t seed = 0, uint64_t position = 0) : seed_(seed), position_(position) {}
  [[nodiscard]] uint64_t seed() const { return seed_; }
  [[nodiscard]] uint64_t position() const { return position_; }
  /// A fresh stream id: one per dropout call, per tensor initialised, per draw.
  uint64_t next_stream() { return position_++; }
  /// One uniform number in [0, 1) with 53 bits.
  double uniform() {
    const Philox4 r = philox(seed_, next_stream(), 0);
    const uint64_t bits = (static_cast<uint64_t>(r.v[0]) << 21) ^ (static_cast<uint64_t>(r.v[1]) >> 11);
    return static_cast<double>(bits & ((1ULL << 53) - 1)) * 0x1p-53;
  }
  /// Uniform integer in [0, count), count > 0.
  int64_t index(int64_t count) {
    return static_cast<int64_t>(uniform() * static_cast<double>(count)) % count;
  }

 private:
  uint64_t seed_;
  uint64_t position_;
};

/// Standard normal number `index` of a stream (Box-Muller on one Philox call).
inline float normal_at(uint64_t seed, uint64_t stream, uint64_t index) {
  const Philox4 r = philox(seed, stream, index);
  const double u = (static_cast<double>(r.v[0]) + 1.0) * 0x1p-32;  // (0, 1]
  const double angle = 6.283185307179586476925 * static_cast<double>(r.v[1]) * 0x1p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(angle));
}

}  // namespace clipcap
