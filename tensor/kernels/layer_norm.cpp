#include "tensor/kernels/layer_norm.h"

#include <cmath>
#include <vector>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(layer_norm_fwd, LayerNormFwd<float>)
CLIPCAP_ISA_KERNEL(layer_norm_bwd, LayerNormBwd<float>)
Op<LayerNormFwd> layer_norm_fwd{"layer_norm_fwd", layer_norm_fwd_cpu, reference::layer_norm_fwd,
                                reference::layer_norm_fwd, reference::layer_norm_fwd};
Op<LayerNormBwd> layer_norm_bwd{"layer_norm_bwd", layer_norm_bwd_cpu, reference::layer_norm_bwd,
                                reference::layer_norm_bwd, reference::layer_norm_bwd};

namespace reference {

template <class T>
void layer_norm_fwd(const LayerNormFwd<T>& p) {
  using R = Real<T>;
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* x = p.x + r * p.dim;
    const T* other = p.residual != nullptr ? p.residual + r * p.dim : nullptr;
    const auto s = [&](int64_t i) { return other != nullptr ? real(x[i]) + real(other[i]) : real(x[i]); };
    R mean = 0;
    for (int64_t i = 0; i < p.dim; ++i) mean += s(i);
    mean /= static_cast<R>(p.dim);
    R variance = 0;
    for (int64_t i = 0; i < p.dim; ++i) variance += (s(i) - mean) * (s(i) - mean);
    const R rstd = 1 / std::sqrt(variance / static_cast<R>(p.dim) + p.eps);
    for (int64_t i = 0; i < p.dim; ++i) {
      const R value = s(i);
      if (p.sum != nullptr) p.sum[r * p.dim + i] = static_cast<T>(value);
      p.y[r * p.dim + i] = static_cast<T>((value - mean) * rstd * real(p.gamma[i]) + real(p.beta[i]));
    }
    if (p.mean != nullptr) p.mean[r] = mean;
    if (p.rstd != nullptr) p.rstd[r] = rstd;
  }
}

template <class T>
void layer_norm_bwd(const LayerNormBwd<T>& p) {
  using R = Real<T>;
  std::vector<R> dgamma(static_cast<size_t>(p.dim), R{0});
  std::vector<R> dbeta(static_cast<size_t>(p.dim), R{0});
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* dy = p.dy + r * p.dim;
    const T* s = p.s + r * p.dim;
    R mean_g = 0;   // mean of dy * gamma
    R mean_gx = 0;  // mean of dy * gamma * x-hat
    for (int64_t i = 0; i < p.dim; ++i) {
      const R normal = (real(s[i]) - p.mean[r]) * p.rstd[r];
      mean_g += real(dy[i]) * real(p.gamma[i]);
      mean_gx += real(dy[i]) * real(p.gamma[i]) * normal;
      dgamma[static_cast<size_t>(i)] += real(dy[i]) * normal;
      dbeta[static_cast<size_t>(i)] += real(dy[i]);
    }
    mean_g /= static_cast<R>(p.dim);
    mean_gx /= static_cast<R>(p.dim);
    for (int64_t i = 0; i < p.dim; ++i) {
      const R normal = (real(s[i]) - p.mean[r]) * p.rstd[r];
      const R past = p.ds_in != nullptr ? real(p.ds_in[r * p.dim + i]) : R{0};
      p.ds[r * p.dim + i] =
          static_cast<T>(past + (real(dy[i]) * real(p.gamma[i]) - mean_g - normal * mean_gx) * p.rstd[r]);
    }
  }
  for (int64_t i = 0; i < p.dim; ++i) {
    p.dgamma[i] = static_cast<T>(dgamma[static_cast<size_t>(i)]);
    p.dbeta[i] = static_cast<T>(dbeta[static_cast<size_t>(i)]);
  }
}

template void layer_norm_fwd(const LayerNormFwd<float>&);
template void layer_norm_fwd(const LayerNormFwd<double>&);
template void layer_norm_fwd(const LayerNormFwd<bfloat16>&);
template void layer_norm_bwd(const LayerNormBwd<float>&);
template void layer_norm_bwd(const LayerNormBwd<double>&);
template void layer_norm_bwd(const LayerNormBwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
