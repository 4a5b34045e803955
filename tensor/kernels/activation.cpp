#include "tensor/kernels/activation.h"

#include <cmath>
#include <vector>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(bias_activation_fwd, BiasActivationFwd<float>)
CLIPCAP_ISA_KERNEL(bias_activation_bwd, BiasActivationBwd<float>)
Op<BiasActivationFwd> bias_activation_fwd{"bias_activation_fwd", bias_activation_fwd_cpu,
                                          reference::bias_activation_fwd, reference::bias_activation_fwd,
                                          reference::bias_activation_fwd};
Op<BiasActivationBwd> bias_activation_bwd{"bias_activation_bwd", bias_activation_bwd_cpu,
                                          reference::bias_activation_bwd, reference::bias_activation_bwd,
                                          reference::bias_activation_bwd};

namespace reference {

namespace {
constexpr double kTanhScale = 0.79788456080286535588;  // sqrt(2 / pi)
constexpr double kTanhCube = 0.044715;
}  // namespace

template <class R>
R activate(R z, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return z < 0 ? R{0} : z;  // a NaN stays
    case Activation::gelu:
      return z * R{0.5} * (1 + std::erf(z * static_cast<R>(M_SQRT1_2)));
    case Activation::quick_gelu:
      return z / (1 + std::exp(static_cast<R>(-1.702) * z));
    case Activation::gelu_tanh:
      return z * R{0.5} *
             (1 + std::tanh(static_cast<R>(kTanhScale) * (z + static_cast<R>(kTanhCube) * z * z * z)));
    case Activation::none:
      break;
  }
  return z;
}

template float activate(float, Activation);
template double activate(double, Activation);

namespace {

template <class T>
T slope(T z, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return z > 0 ? T{1} : z <= 0 ? T{0} : z;
    case Activation::gelu: {
      const T density = std::exp(-z * z / 2) * static_cast<T>(M_2_SQRTPI * M_SQRT1_2 / 2);
      return T{0.5} * (1 + std::erf(z * static_cast<T>(M_SQRT1_2))) + z * density;
    }
    case Activation::quick_gelu: {
      const T s = 1 / (1 + std::exp(static_cast<T>(-1.702) * z));
      return s + static_cast<T>(1.702) * z * s * (1 - s);
    }
    case Activation::gelu_tanh: {
      const T tanh = std::tanh(static_cast<T>(kTanhScale) * (z + static_cast<T>(kTanhCube) * z * z * z));
      if (std::abs(z) > 30) return (1 + tanh) / 2;  // 0 or 1; the square below would be infinite
      const T inner = static_cast<T>(kTanhScale) * (1 + static_cast<T>(3 * kTanhCube) * z * z);
      return T{0.5} * (1 + tanh) + T{0.5} * z * (1 - tanh * tanh) * inner;
    }
    case Activation::none:
      break;
  }
  return 1;
}

}  // namespace

template <class T>
void bias_activation_fwd(const BiasActivationFwd<T>& p) {
  for (int64_t i = 0; i < p.rows * p.dim; ++i) {
    p.y[i] = static_cast<T>(
        activate(real(p.x[i]) + (p.bias != nullptr ? real(p.bias[i % p.dim]) : Real<T>{0}), p.activation));
  }
}

template <class T>
void bias_activation_bwd(const BiasActivationBwd<T>& p) {
  using R = Real<T>;
  std::vector<R> dbias(static_cast<size_t>(p.dim), R{0});
  for (int64_t i = 0; i < p.rows * p.dim; ++i) {
    const R u = real(p.x[i]) + (p.bias != nullptr ? real(p.bias[i % p.dim]) : R{0});
    const R dx = real(p.dy[i]) * slope(u, p.activation);
    p.dx[i] = static_cast<T>(dx);
    dbias[static_cast<size_t>(i % p.dim)] += dx;
  }
  for (int64_t j = 0; p.dbias != nullptr && j < p.dim; ++j) {
    p.dbias[j] = static_cast<T>(dbias[static_cast<size_t>(j)]);
  }
}

template void bias_activation_fwd(const BiasActivationFwd<float>&);
template void bias_activation_fwd(const BiasActivationFwd<double>&);
template void bias_activation_fwd(const BiasActivationFwd<bfloat16>&);
template void bias_activation_bwd(const BiasActivationBwd<float>&);
template void bias_activation_bwd(const BiasActivationBwd<double>&);
template void bias_activation_bwd(const BiasActivationBwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
