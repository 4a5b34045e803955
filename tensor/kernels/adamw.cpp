#include "tensor/kernels/adamw.h"

#include <cmath>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(adamw, Adamw<float>)
CLIPCAP_ISA_KERNEL(sum_squares, SumSquares<float>)
Op<void(const Adamw<float>&)> adamw{"adamw", adamw_cpu};
Op<void(const SumSquares<float>&)> sum_squares{"sum_squares", sum_squares_cpu};

namespace reference {

template <class T>
void adamw(const Adamw<T>& p) {
  const double correction1 = 1 - std::pow(p.beta1, static_cast<double>(p.step));
  const double correction2 = 1 - std::pow(p.beta2, static_cast<double>(p.step));
  for (int64_t t = 0; t < p.count; ++t) {
    const AdamwTensor<T>& x = p.tensors[t];
    const T lr = static_cast<T>(p.lr * static_cast<double>(x.lr_scale));
    for (int64_t i = 0; i < x.numel; ++i) {
      const T g = x.grad[i] * static_cast<T>(p.grad_scale);
      x.m[i] = static_cast<T>(p.beta1) * x.m[i] + static_cast<T>(1 - p.beta1) * g;
      x.v[i] = static_cast<T>(p.beta2) * x.v[i] + static_cast<T>(1 - p.beta2) * g * g;
      const T denominator = std::sqrt(x.v[i] / static_cast<T>(correction2)) + static_cast<T>(p.eps);
      x.param[i] -= lr * (static_cast<T>(x.weight_decay) * x.param[i] +
                          x.m[i] / static_cast<T>(correction1) / denominator);
    }
  }
}

template <class T>
void sum_squares(const SumSquares<T>& p) {
  double total = 0;
  for (int64_t t = 0; t < p.count; ++t) {
    for (int64_t i = 0; i < p.numels[t]; ++i) {
      total += static_cast<double>(p.tensors[t][i]) * static_cast<double>(p.tensors[t][i]);
    }
  }
  *p.result = total;
}

template void adamw(const Adamw<float>&);
template void adamw(const Adamw<double>&);
template void sum_squares(const SumSquares<float>&);
template void sum_squares(const SumSquares<double>&);

}  // namespace reference
}  // namespace clipcap
