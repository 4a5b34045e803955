// Scaled dot-product attention without a Tq x Tk matrix in memory, forward and backward.
//
// Equation   s_ij = scale * q_i . k_j;  p_ij = softmax over the allowed j;  o_i = sum_j p_ij v_j
//            (Vaswani et al. 2017, eq. 1; online softmax: Milakov & Gimelshein 2018; tiling and the backward
//            pass from (o, lse): Dao et al. 2022, "FlashAttention", algorithms 1 and 4)
//            backward:  D_i = d_o_i . o_i;  dp_ij = d_o_i . v_j;  ds_ij = p_ij (dp_ij - D_i)
//                       dq_i = scale sum_j ds_ij k_j;  dk_j = scale sum_i ds_ij q_i;  dv_j = sum_i p_ij d_o_i
// Shapes     q, o [B,Tq,H,K]; k, v [B,Tk,H,K]; lse [B,H,Tq]; key_valid [B,Tk]. B batch, H heads, K head dim.
// Layout     any strides for batch, row and head (usually views into one fused projection [B,T,3,H,K]); the
//            K values of one head are adjacent. lse and key_valid contiguous. Outputs may not overlap inputs.
// Masks      key j is allowed for query i when key_valid[b,j] != 0 (or key_valid is null) and, if causal,
//            j <= i + causal_offset. A query with no allowed key: o = 0, lse = -inf, zero gradients.
//            Keys and values that key_valid masks never reach a result, not even as NaN.
// Saved      o, and one lse a row and head; backward recomputes the probabilities from q, k and lse.
// Numerics   float accumulation (double in the oracle); the running maximum is subtracted before every
//            exponential. Empty dimensions are allowed; with Tk = 0 the outputs are as for masked rows.
// Determinism bitwise for any thread count: one thread does all of a (batch, head), forward and backward.
// Cost       4 B H Tq Tk K FLOPs forward, 10 B H Tq Tk K backward (causal: about half).
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

/// Element strides of a [B,T,H,K] view; the K values are adjacent.
struct AttentionStrides {
  int64_t batch = 0;
  int64_t row = 0;
  int64_t head = 0;
};

/// What both directions are told alike.
template <class T>
struct AttentionInputs {
  const T* q = nullptr;                // [B,Tq,H,K]
  const T* k = nullptr;                // [B,Tk,H,K]
  const T* v = nullptr;                // [B,Tk,H,K]
  const uint8_t* key_valid = nullptr;  // [B,Tk] or null: 1 = attend
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t q_len = 0;
  int64_t k_len = 0;
  int64_t head_dim = 0;
  AttentionStrides q_strides;
  AttentionStrides k_strides;
  AttentionStrides v_strides;
  AttentionStrides o_strides;
  bool causal = false;
  int64_t causal_offset =
      0;              // query i attends keys j <= i + causal_offset (decoding: the number of cached keys)
  Real<T> scale = 0;  // usually 1/sqrt(K)
};

template <class T>
struct AttentionFwd : AttentionInputs<T> {
  T* o = nullptr;          // [B,Tq,H,K]
  Real<T>* lse = nullptr;  // [B,H,Tq] or null: log of the sum of exponentials of a row's scaled scores
};

template <class T>
struct AttentionBwd : AttentionInputs<T> {
  const T* o = nullptr;          // [B,Tq,H,K] forward's output
  const Real<T>* lse = nullptr;  // [B,H,Tq] forward's lse
  const T* d_o = nullptr;        // [B,Tq,H,K], strides of o
  T* dq = nullptr;               // [B,Tq,H,K] overwritten
  T* dk = nullptr;               // [B,Tk,H,K] overwritten
  T* dv = nullptr;               // [B,Tk,H,K] overwritten
  AttentionStrides dq_strides;
  AttentionStrides dk_strides;
  AttentionStrides dv_strides;
};

/// Pairs of a query and a key that attend each other if nothing is masked but, when causal, the future.
template <class P>
[[nodiscard]] double attention_pairs(const P& p) {
  if (!p.causal) return static_cast<double>(p.q_len) * static_cast<double>(p.k_len);
  double pairs = 0;
  for (int64_t i = 0; i < p.q_len; ++i) {
    pairs += static_cast<double>(std::clamp<int64_t>(i + p.causal_offset + 1, 0, p.k_len));
  }
  return pairs;
}
/// Two products of K for each pair of a query and a key.
template <class T>
[[nodiscard]] Cost cost(const AttentionFwd<T>& p) {
  const double heads = static_cast<double>(p.batch) * static_cast<double>(p.heads);
  const auto head_dim = static_cast<double>(p.head_dim);
  const auto q_rows = static_cast<double>(p.q_len);
  const auto k_rows = static_cast<double>(p.k_len);
  return {4 * heads * head_dim * attention_pairs(p), heads * head_dim * (q_rows + 2 * k_rows) * sizeof(T),
          heads * q_rows * (head_dim * sizeof(T) + (p.lse != nullptr ? sizeof(Real<T>) : 0))};
}
/// Five products of K for each pair.
template <class T>
[[nodiscard]] Cost cost(const AttentionBwd<T>& p) {
  const double heads = static_cast<double>(p.batch) * static_cast<double>(p.heads);
  const auto head_dim = static_cast<double>(p.head_dim);
  const auto q_rows = static_cast<double>(p.q_len);
  const auto k_rows = static_cast<double>(p.k_len);
  return {10 * heads * head_dim * attention_pairs(p),
          heads * (head_dim * (3 * q_rows + 2 * k_rows) * sizeof(T) + q_rows * sizeof(Real<T>)),
          heads * head_dim * (q_rows + 2 * k_rows) * sizeof(T)};
}

extern Op<AttentionFwd> attention_fwd;
extern Op<AttentionBwd> attention_bwd;

namespace reference {  // the oracle: float, double, bfloat16
template <class T>
void attention_fwd(const AttentionFwd<T>& p);
template <class T>
void attention_bwd(const AttentionBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
