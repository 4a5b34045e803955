#include "tensor/kernels/activation.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

// tanh's half of GELU as a sigmoid: (1 + tanh(x)) / 2 = sigmoid(2x). Far out, where it is 0 or 1, cubes would be
// infinite; a NaN stays.
CLIPCAP_INLINE Vec within_thirty(Vec z) {
  return select(z > broadcast(30.0F), broadcast(30.0F), select(z < broadcast(-30.0F), broadcast(-30.0F), z));
}
CLIPCAP_INLINE Vec tanh_gate(Vec z) { return sigmoid(z * 1.5957691F * (1.0F + z * z * 0.044715F)); }

template <Activation activation>
CLIPCAP_INLINE Vec value(Vec z) {
  if constexpr (activation == Activation::relu) return select(z < Vec{}, Vec{}, z);  // a NaN stays
  if constexpr (activation == Activation::gelu) return z * 0.5F * (1.0F + erf(z * 0.70710678F));
  if constexpr (activation == Activation::quick_gelu) return z * sigmoid(z * 1.702F);
  if constexpr (activation == Activation::gelu_tanh) return z * tanh_gate(within_thirty(z));
  return z;
}

template <Activation activation>
CLIPCAP_INLINE Vec slope(Vec z) {
  if constexpr (activation == Activation::relu) {
    return select(z > Vec{}, broadcast(1.0F), select(z <= Vec{}, Vec{}, z));
  }
  if constexpr (activation == Activation::gelu) {
    return 0.5F * (1.0F + erf(z * 0.70710678F)) + z * exp(z * z * -0.5F) * 0.39894228F;
  }
  if constexpr (activation == Activation::quick_gelu) {
    const Vec s = sigmoid(z * 1.702F);
    return s + z * s * (1.0F - s) * 1.702F;
  }
  if constexpr (activation == Activation::gelu_tanh) {
    const Vec near = within_thirty(z);
    const Vec s = tanh_gate(near);
    return s + near * s * (1.0F - s) * (1.5957691F + near * near * 0.21406588F);
  }
  return broadcast(1.0F);
}

template <Activation activation>
void forward(const BiasActivationFwd<float>& p) {
  parallel_for(p.rows, 16384 / (p.dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = p.x + r * p.dim;
      float* y = p.y + r * p.dim;
      each_vector(p.dim, [&](int64_t j, int64_t width) {
        Vec z = load_width(x + j, width);
        if (p.bias != nullptr) z += load_width(p.bias + j, width);
        store_width(y + j, value<activation>(z), width);
      });
    }
  });
}

// Rows [begin, end): dx, and their sum over rows added to `partial` [D] (or null). A block of rows goes
// through one column vector after the other, so that the sums stay in registers and the rows in cache.
template <Activation activation>
void backward_rows(const BiasActivationBwd<float>& p, int64_t begin, int64_t end, float* partial) {
  constexpr int64_t kRowBlock = 8;
  for (int64_t first = begin; first < end; first += kRowBlock) {
    const int64_t last = first + kRowBlock < end ? first + kRowBlock : end;
    each_vector(p.dim, [&](int64_t j, int64_t width) {
      const Vec bias = p.bias == nullptr ? Vec{} : load_width(p.bias + j, width);
      Vec total{};
      for (int64_t r = first; r < last; ++r) {
        const int64_t at = r * p.dim + j;
        const Vec dx = load_width(p.dy + at, width) * slope<activation>(load_width(p.x + at, width) + bias);
        total += dx;
        store_width(p.dx + at, dx, width);
      }
      if (partial != nullptr) store_width(partial + j, load_width(partial + j, width) + total, width);
    });
  }
}

template <Activation activation>
void backward(const BiasActivationBwd<float>& p) {
  const int64_t grain = 8192 / (p.dim + 1) + 1;
  if (p.dbias == nullptr) {
    parallel_for(p.rows, grain,
                 [&](int64_t begin, int64_t end) { backward_rows<activation>(p, begin, end, nullptr); });
    return;
  }
  const int64_t most = (p.rows + grain - 1) / grain;
  const int64_t chunks = most < thread_count() ? most : thread_count();
  const size_t bytes = static_cast<size_t>(p.dim) * sizeof(float);
  auto* partial = static_cast<float*>(thread_scratch(static_cast<size_t>(chunks) * bytes + 1));
  __builtin_memset(partial, 0, static_cast<size_t>(chunks) * bytes);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      backward_rows<activation>(p, p.rows * c / chunks, p.rows * (c + 1) / chunks, partial + c * p.dim);
    }
  });
  for (int64_t j = 0; j < p.dim; ++j) {
    float total = 0;
    for (int64_t c = 0; c < chunks; ++c) total += partial[c * p.dim + j];
    p.dbias[j] = total;
  }
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
    case Activation::gelu_tanh:
      return forward<Activation::gelu_tanh>(p);
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
    case Activation::gelu_tanh:
      return backward<Activation::gelu_tanh>(p);
  }
}

}  // namespace clipcap::CLIPCAP_ISA
