#include "tensor/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(attention_fwd, AttentionFwd<float>)
CLIPCAP_ISA_KERNEL(attention_bwd, AttentionBwd<float>)
Op<AttentionFwd> attention_fwd{"attention_fwd", attention_fwd_cpu, reference::attention_fwd,
                               reference::attention_fwd, reference::attention_fwd};
Op<AttentionBwd> attention_bwd{"attention_bwd", attention_bwd_cpu, reference::attention_bwd,
                               reference::attention_bwd, reference::attention_bwd};

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
Real<T> dot(const T* a, const T* b, int64_t count) {
  Real<T> total = 0;
  for (int64_t x = 0; x < count; ++x) total += real(a[x]) * real(b[x]);
  return total;
}

// Row t of a strided output as T.
template <class T>
void store_row(T* base, const AttentionStrides& s, int64_t b, int64_t t, int64_t h, const Real<T>* values,
               int64_t dim) {
  T* row = row_of(base, s, b, t, h);
  for (int64_t x = 0; x < dim; ++x) row[x] = static_cast<T>(values[x]);
}

}  // namespace

template <class T>
void attention_fwd(const AttentionFwd<T>& p) {
  using R = Real<T>;
  constexpr R kInfinity = std::numeric_limits<R>::infinity();
  std::vector<R> score(static_cast<size_t>(p.k_len));
  std::vector<R> o(static_cast<size_t>(p.head_dim));
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < p.q_len; ++i) {
        const T* q = row_of(p.q, p.q_strides, b, i, h);
        std::fill(o.begin(), o.end(), R{0});
        R largest = -kInfinity;
        for (int64_t j = 0; j < p.k_len; ++j) {
          if (!allowed(p, b, i, j)) continue;
          score[j] = p.scale * dot(q, row_of(p.k, p.k_strides, b, j, h), p.head_dim);
          largest = std::max(largest, score[j]);
        }
        R total = 0;
        for (int64_t j = 0; j < p.k_len; ++j) {
          if (!allowed(p, b, i, j)) continue;
          const R weight = std::exp(score[j] - largest);
          const T* v = row_of(p.v, p.v_strides, b, j, h);
          total += weight;
          for (int64_t x = 0; x < p.head_dim; ++x) o[x] += weight * real(v[x]);
        }
        if (total != 0) {
          for (int64_t x = 0; x < p.head_dim; ++x) o[x] /= total;
        }
        store_row(p.o, p.o_strides, b, i, h, o.data(), p.head_dim);
        if (p.lse != nullptr) {
          p.lse[(b * p.heads + h) * p.q_len + i] = total != 0 ? largest + std::log(total) : -kInfinity;
        }
      }
    }
  }
}

template <class T>
void attention_bwd(const AttentionBwd<T>& p) {
  using R = Real<T>;
  const int64_t dim = p.head_dim;
  std::vector<R> dq(static_cast<size_t>(dim));
  std::vector<R> dk(static_cast<size_t>(p.k_len * dim));
  std::vector<R> dv(static_cast<size_t>(p.k_len * dim));
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.heads; ++h) {
      std::fill(dk.begin(), dk.end(), R{0});
      std::fill(dv.begin(), dv.end(), R{0});
      for (int64_t i = 0; i < p.q_len; ++i) {
        std::fill(dq.begin(), dq.end(), R{0});
        const R lse = p.lse[(b * p.heads + h) * p.q_len + i];
        const T* q = row_of(p.q, p.q_strides, b, i, h);
        const T* d_o = row_of(p.d_o, p.o_strides, b, i, h);
        const R delta = dot(d_o, row_of(p.o, p.o_strides, b, i, h), dim);
        for (int64_t j = 0; j < p.k_len && lse != -std::numeric_limits<R>::infinity(); ++j) {
          if (!allowed(p, b, i, j)) continue;
          const T* k = row_of(p.k, p.k_strides, b, j, h);
          const R weight = std::exp(p.scale * dot(q, k, dim) - lse);
          const R dp = dot(d_o, row_of(p.v, p.v_strides, b, j, h), dim);
          const R ds = p.scale * weight * (dp - delta);
          for (int64_t x = 0; x < dim; ++x) {
            dq[x] += ds * real(k[x]);
            dk[j * dim + x] += ds * real(q[x]);
            dv[j * dim + x] += weight * real(d_o[x]);
          }
        }
        store_row(p.dq, p.dq_strides, b, i, h, dq.data(), dim);
      }
      for (int64_t j = 0; j < p.k_len; ++j) {
        store_row(p.dk, p.dk_strides, b, j, h, dk.data() + j * dim, dim);
        store_row(p.dv, p.dv_strides, b, j, h, dv.data() + j * dim, dim);
      }
    }
  }
}

template void attention_fwd(const AttentionFwd<float>&);
template void attention_fwd(const AttentionFwd<double>&);
template void attention_fwd(const AttentionFwd<bfloat16>&);
template void attention_bwd(const AttentionBwd<float>&);
template void attention_bwd(const AttentionBwd<double>&);
template void attention_bwd(const AttentionBwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
