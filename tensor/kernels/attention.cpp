#include "tensor/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(attention_fwd, AttentionFwd<float>)
CLIPCAP_ISA_KERNEL(attention_bwd, AttentionBwd<float>)
Op<void(const AttentionFwd<float>&)> attention_fwd{"attention_fwd", attention_fwd_cpu};
Op<void(const AttentionBwd<float>&)> attention_bwd{"attention_bwd", attention_bwd_cpu};

namespace reference {
namespace {

template <class P>
bool allowed(const P& p, int64_t b, int64_t i, int64_t j) {
  return (p.key_valid == nullptr || p.key_valid[b * p.k_len + j] != 0) &&
         (!p.causal || j <= i + p.causal_offset);
}

// The head_dim values of row t.
template <class T>
T* row_of(T* base, const AttentionStrides& s, int64_t b, int64_t t, int64_t h) {
  return base + b * s.batch + t * s.row + h * s.head;
}

template <class T>
T dot(const T* a, const T* b, int64_t count) {
  T total = 0;
  for (int64_t x = 0; x < count; ++x) total += a[x] * b[x];
  return total;
}

template <class T>
void zero_rows(T* base, const AttentionStrides& s, int64_t b, int64_t h, int64_t rows, int64_t dim) {
  for (int64_t t = 0; t < rows; ++t) {
    T* row = row_of(base, s, b, t, h);
    for (int64_t x = 0; x < dim; ++x) row[x] = 0;
  }
}

}  // namespace

template <class T>
void attention_fwd(const AttentionFwd<T>& p) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  std::vector<T> score(static_cast<size_t>(p.k_len));
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.heads; ++h) {
      zero_rows(p.o, p.o_strides, b, h, p.q_len, p.head_dim);
      for (int64_t i = 0; i < p.q_len; ++i) {
        const T* q = row_of(p.q, p.q_strides, b, i, h);
        T* o = row_of(p.o, p.o_strides, b, i, h);
        T largest = -kInfinity;
        for (int64_t j = 0; j < p.k_len; ++j) {
          if (!allowed(p, b, i, j)) continue;
          score[j] = p.scale * dot(q, row_of(p.k, p.k_strides, b, j, h), p.head_dim);
          largest = std::max(largest, score[j]);
        }
        T total = 0;
        for (int64_t j = 0; j < p.k_len; ++j) {
          if (!allowed(p, b, i, j)) continue;
          const T weight = std::exp(score[j] - largest);
          const T* v = row_of(p.v, p.v_strides, b, j, h);
          total += weight;
          for (int64_t x = 0; x < p.head_dim; ++x) o[x] += weight * v[x];
        }
        if (total != 0) {
          for (int64_t x = 0; x < p.head_dim; ++x) o[x] /= total;
        }
        if (p.lse != nullptr) {
          p.lse[(b * p.heads + h) * p.q_len + i] = total != 0 ? largest + std::log(total) : -kInfinity;
        }
      }
    }
  }
}

template <class T>
void attention_bwd(const AttentionBwd<T>& p) {
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.heads; ++h) {
      zero_rows(p.dq, p.dq_strides, b, h, p.q_len, p.head_dim);
      zero_rows(p.dk, p.dk_strides, b, h, p.k_len, p.head_dim);
      zero_rows(p.dv, p.dv_strides, b, h, p.k_len, p.head_dim);
      for (int64_t i = 0; i < p.q_len; ++i) {
        const T lse = p.lse[(b * p.heads + h) * p.q_len + i];
        if (lse == -std::numeric_limits<T>::infinity()) continue;
        const T* q = row_of(p.q, p.q_strides, b, i, h);
        const T* d_o = row_of(p.d_o, p.o_strides, b, i, h);
        T* dq = row_of(p.dq, p.dq_strides, b, i, h);
        const T delta = dot(d_o, row_of(p.o, p.o_strides, b, i, h), p.head_dim);
        for (int64_t j = 0; j < p.k_len; ++j) {
          if (!allowed(p, b, i, j)) continue;
          const T* k = row_of(p.k, p.k_strides, b, j, h);
          T* dk = row_of(p.dk, p.dk_strides, b, j, h);
          T* dv = row_of(p.dv, p.dv_strides, b, j, h);
          const T weight = std::exp(p.scale * dot(q, k, p.head_dim) - lse);
          const T dp = dot(d_o, row_of(p.v, p.v_strides, b, j, h), p.head_dim);
          const T ds = p.scale * weight * (dp - delta);
          for (int64_t x = 0; x < p.head_dim; ++x) {
            dq[x] += ds * k[x];
            dk[x] += ds * q[x];
            dv[x] += weight * d_o[x];
          }
        }
      }
    }
  }
}

template void attention_fwd(const AttentionFwd<float>&);
template void attention_fwd(const AttentionFwd<double>&);
template void attention_bwd(const AttentionBwd<float>&);
template void attention_bwd(const AttentionBwd<double>&);

}  // namespace reference
}  // namespace clipcap
