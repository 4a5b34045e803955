#include "tensor/kernels/adamw.h"

#include <cmath>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(adamw, AdamwStep<float>)
CLIPCAP_ISA_KERNEL(sum_squares, SumSquares<float>)
Op<AdamwStep> adamw{"adamw", adamw_cpu, reference::adamw, reference::adamw, reference::adamw};
Op<SumSquares> sum_squares{"sum_squares", sum_squares_cpu, reference::sum_squares, reference::sum_squares,
                           reference::sum_squares};

namespace reference {

template <class T>
void adamw(const AdamwStep<T>& p) {
  using R = Real<T>;
  const double correction1 = 1 - std::pow(p.beta1, static_cast<double>(p.step));
  const double correction2 = 1 - std::pow(p.beta2, static_cast<double>(p.step));
  for (int64_t t = 0; t < p.count; ++t) {
    const AdamwTensor<T>& x = p.tensors[t];
    const R lr = static_cast<R>(p.lr * static_cast<double>(x.lr_scale));
    for (int64_t i = 0; i < x.numel; ++i) {
      const R g = real(x.grad[i]) * static_cast<R>(p.grad_scale);
      x.m[i] = static_cast<R>(p.beta1) * x.m[i] + static_cast<R>(1 - p.beta1) * g;
      x.v[i] = static_cast<R>(p.beta2) * x.v[i] + static_cast<R>(1 - p.beta2) * g * g;
      const R denominator = std::sqrt(x.v[i] / static_cast<R>(correction2)) + static_cast<R>(p.eps);
      const R param = real(x.param[i]);
      x.param[i] = static_cast<T>(param - lr * (static_cast<R>(x.weight_decay) * param +
                                                x.m[i] / static_cast<R>(correction1) / denominator));
    }
  }
}

template <class T>
void sum_squares(const SumSquares<T>& p) {
  double total = 0;
  for (int64_t t = 0; t < p.count; ++t) {
    for (int64_t i = 0; i < p.numels[t]; ++i) {
      total += static_cast<double>(real(p.tensors[t][i])) * static_cast<double>(real(p.tensors[t][i]));
    }
  }
  *p.result = total;
}

template void adamw(const AdamwStep<float>&);
template void adamw(const AdamwStep<double>&);
template void adamw(const AdamwStep<bfloat16>&);
template void sum_squares(const SumSquares<float>&);
template void sum_squares(const SumSquares<double>&);
template void sum_squares(const SumSquares<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
