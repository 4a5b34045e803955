#include "tensor/kernels/activation.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

template <Activation activation>
CLIPCAP_INLINE Vec value(Vec z) {
  if constexpr (activation == Activation::relu) return max(z, Vec{});
  if constexpr (activation == Activation::gelu) return z * 0.5F * (1.0F + erf(z * 0.70710678F));
  if constexpr (activation == Activation::quick_gelu) return z * sigmoid(z * 1.702F);
  return z;
}

template <Activation activation>
CLIPCAP_INLINE Vec slope(Vec z) {
  if constexpr (activation == Activation::relu) return select(z > Vec{}, broadcast(1.0F), Vec{});
  if constexpr (activation == Activation::gelu) {
    return 0.5F * (1.0F + erf(z * 0.70710678F)) + z * exp(z * z * -0.5F) * 0.39894228F;
  }
  if constexpr (activation == Activation::quick_gelu) {
    const Vec s = sigmoid(z * 1.702F);
    return s + z * s * (1.0F - s) * 1.702F;
  }
  return broadcast(1.0F);
}

template <Activation activation>
void forward(const BiasActivationFwd<float>& p) {
  parallel_for(p.rows, 16384 / (p.dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = p.x + r * p.dim;
      float* y = p.y + r * p.dim;
      int64_t j = 0;
      for (; j + kLanes <= p.dim; j += kLanes) {
        Vec z = load(x + j);
        if (p.bias != nullptr) z += load(p.bias + j);
        store(y + j, value<activation>(z));
      }
      if (j < p.dim) {
        Vec z = load_partial(x + j, p.dim - j);
        if (p.bias != nullptr) z += load_partial(p.bias + j, p.dim - j);
        store_partial(y + j, value<activation>(z), p.dim - j);
      }
    }
  });
}

// A thread owns blocks of columns, so that dbias needs no second pass.
template <Activation activation>
void backward(const BiasActivationBwd<float>& p) {
  constexpr int64_t kColumns = 4 * kLanes;
  const int64_t blocks = (p.dim + kColumns - 1) / kColumns;
  parallel_for(blocks, 16384 / (p.rows * kColumns + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * kColumns; first < end * kColumns && first < p.dim; first += kLanes) {
      const int64_t width = p.dim - first < kLanes ? p.dim - first : kLanes;
      const bool whole = width == kLanes;
      const Vec bias = p.bias == nullptr ? Vec{} : whole ? load(p.bias + first) : load_partial(p.bias + first, width);
      Vec total{};
      for (int64_t r = 0; r < p.rows; ++r) {
        const int64_t at = r * p.dim + first;
        const Vec z = (whole ? load(p.x + at) : load_partial(p.x + at, width)) + bias;
        const Vec dy = whole ? load(p.dy + at) : load_partial(p.dy + at, width);
        const Vec dx = dy * slope<activation>(z);
        total += dx;
        if (whole) {
          store(p.dx + at, dx);
        } else {
          store_partial(p.dx + at, dx, width);
        }
      }
      if (p.dbias != nullptr) store_partial(p.dbias + first, total, width);
    }
  });
}

}  // namespace

void bias_activation_fwd(const BiasActivationFwd<float>& p) {
  switch (p.activation) {
    case Activation::none:
      return forward<Activation::none>(p);
    case Activation::relu:
      return forward<Activation::relu>(p);
    case Activation::gelu:
      return forward<Activation::gelu>(p);
    case Activation::quick_gelu:
      return forward<Activation::quick_gelu>(p);
  }
}

void bias_activation_bwd(const BiasActivationBwd<float>& p) {
  switch (p.activation) {
    case Activation::none:
      return backward<Activation::none>(p);
    case Activation::relu:
      return backward<Activation::relu>(p);
    case Activation::gelu:
      return backward<Activation::gelu>(p);
    case Activation::quick_gelu:
      return backward<Activation::quick_gelu>(p);
  }
}

}  // namespace clipcap::CLIPCAP_ISA
