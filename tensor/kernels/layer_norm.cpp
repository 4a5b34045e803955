#include "tensor/kernels/layer_norm.h"

#include <cmath>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(layer_norm_fwd, LayerNormFwd<float>)
CLIPCAP_ISA_KERNEL(layer_norm_bwd, LayerNormBwd<float>)
Op<void(const LayerNormFwd<float>&)> layer_norm_fwd{"layer_norm_fwd", layer_norm_fwd_cpu};
Op<void(const LayerNormBwd<float>&)> layer_norm_bwd{"layer_norm_bwd", layer_norm_bwd_cpu};

namespace reference {

template <class T>
void layer_norm_fwd(const LayerNormFwd<T>& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* x = p.x + r * p.dim;
    const T* other = p.residual != nullptr ? p.residual + r * p.dim : nullptr;
    const auto s = [&](int64_t i) { return other != nullptr ? x[i] + other[i] : x[i]; };
    T mean = 0;
    for (int64_t i = 0; i < p.dim; ++i) mean += s(i);
    mean /= static_cast<T>(p.dim);
    T variance = 0;
    for (int64_t i = 0; i < p.dim; ++i) variance += (s(i) - mean) * (s(i) - mean);
    const T rstd = 1 / std::sqrt(variance / static_cast<T>(p.dim) + p.eps);
    for (int64_t i = 0; i < p.dim; ++i) {
      const T value = s(i);
      if (p.sum != nullptr) p.sum[r * p.dim + i] = value;
      p.y[r * p.dim + i] = (value - mean) * rstd * p.gamma[i] + p.beta[i];
    }
    if (p.mean != nullptr) p.mean[r] = mean;
    if (p.rstd != nullptr) p.rstd[r] = rstd;
  }
}

template <class T>
void layer_norm_bwd(const LayerNormBwd<T>& p) {
  for (int64_t i = 0; i < p.dim; ++i) p.dgamma[i] = p.dbeta[i] = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* dy = p.dy + r * p.dim;
    const T* s = p.s + r * p.dim;
    T mean_g = 0;   // mean of dy * gamma
    T mean_gx = 0;  // mean of dy * gamma * x-hat
    for (int64_t i = 0; i < p.dim; ++i) {
      const T normal = (s[i] - p.mean[r]) * p.rstd[r];
      mean_g += dy[i] * p.gamma[i];
      mean_gx += dy[i] * p.gamma[i] * normal;
      p.dgamma[i] += dy[i] * normal;
      p.dbeta[i] += dy[i];
    }
    mean_g /= static_cast<T>(p.dim);
    mean_gx /= static_cast<T>(p.dim);
    for (int64_t i = 0; i < p.dim; ++i) {
      const T normal = (s[i] - p.mean[r]) * p.rstd[r];
      const T past = p.ds_in != nullptr ? p.ds_in[r * p.dim + i] : T{0};
      p.ds[r * p.dim + i] = past + (dy[i] * p.gamma[i] - mean_g - normal * mean_gx) * p.rstd[r];
    }
  }
}

template void layer_norm_fwd(const LayerNormFwd<float>&);
template void layer_norm_fwd(const LayerNormFwd<double>&);
template void layer_norm_bwd(const LayerNormBwd<float>&);
template void layer_norm_bwd(const LayerNormBwd<double>&);

}  // namespace reference
}  // namespace clipcap
