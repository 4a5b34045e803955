// Differentiable operations. Each records a closure that stands right beside its forward in ops_*.cpp. They
// live in clipcap::diff, so that the kernels' own names (clipcap::matmul, ...) stay free. Inputs are f32, bf16
// (losses and an LSTM's cells are then f32) or f64 (the oracle kernels: gradient checks). What an operation
// keeps for backward() is what the wanted gradients need: a frozen weight does not keep its input in memory.
#pragma once

#include <span>
#include <vector>

#include "autograd/variable.h"
#include "tensor/kernels/activation.h"
#include "tensor/random.h"

namespace clipcap::diff {

// ---- arithmetic (ops_basic.cpp); shapes broadcast
[[nodiscard]] Variable add(const Variable& a, const Variable& b);
[[nodiscard]] Variable sub(const Variable& a, const Variable& b);
[[nodiscard]] Variable mul(const Variable& a, const Variable& b);
/// x * factor
[[nodiscard]] Variable scale(const Variable& x, double factor);
/// x * exp(log_factor), log_factor [1]: a learned temperature.
[[nodiscard]] Variable scale_exp(const Variable& x, const Variable& log_factor);
/// Sum and mean of all elements, shape [].
[[nodiscard]] Variable sum(const Variable& x);
[[nodiscard]] Variable mean(const Variable& x);

// ---- shape (ops_basic.cpp)
[[nodiscard]] Variable reshape(const Variable& x, std::initializer_list<int64_t> sizes);
[[nodiscard]] Variable reshape(const Variable& x, const Shape& shape);
[[nodiscard]] Variable transpose(const Variable& x, int i, int j);
[[nodiscard]] Variable slice(const Variable& x, int dim, int64_t start, int64_t length);
[[nodiscard]] Variable concat(const std::vector<Variable>& parts, int dim);
/// x repeated along dimensions of size 1 (and new leading ones) to `shape`.
[[nodiscard]] Variable expand(const Variable& x, const Shape& shape);

// ---- products (ops_basic.cpp)
/// Batched: a [...,M,K] times b [...,K,N] (or b [K,N] shared): [...,M,N].
[[nodiscard]] Variable matmul(const Variable& a, const Variable& b);
/// x [...,K], weight [N,K], bias [N] or undefined: x weight^T + bias, [...,N].
[[nodiscard]] Variable linear(const Variable& x, const Variable& weight, const Variable& bias);

// ---- rows (ops_rows.cpp)
/// activation(x + bias); bias [D] or undefined.
[[nodiscard]] Variable bias_activation(const Variable& x, const Variable& bias, Activation activation);
/// Layer normalisation over the last dimension.
[[nodiscard]] Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps);
struct ResidualNorm {
  Variable sum;         // x + residual
  Variable normalised;  // layer_norm(sum)
};
/// x + residual and its normalisation in one pass (a pre-LN block's joint).
[[nodiscard]] ResidualNorm add_layer_norm(const Variable& x, const Variable& residual, const Variable& gamma,
                                          const Variable& beta, double eps);
/// Rows over the last dimension divided by their 2-norm (tensor/kernels/l2_normalize.h).
[[nodiscard]] Variable l2_normalize(const Variable& x);
/// Inverted dropout: zero with probability p, the rest divided by 1 - p. p = 0 returns x and draws nothing.
[[nodiscard]] Variable dropout(const Variable& x, double p, Generator& generator);
/// Rows of table [V,D] by ids (i32): [..., D].
[[nodiscard]] Variable embedding(const Tensor& ids, const Variable& table);

// ---- attention and recurrence (ops_sequence.cpp)
struct AttentionOptions {
  Tensor key_valid;     // u8 [B,Tk], 1 = attend; undefined = all
  bool causal = false;  // query i attends keys j <= i + causal_offset
  int64_t causal_offset = 0;
  double scale = 0;  // 0 = 1/sqrt(K)
};
/// q [B,Tq,H,K], k and v [B,Tk,H,K] (any strides with adjacent K): [B,Tq,H,K]. Softmax(q k^T * scale) v.
[[nodiscard]] Variable attention(const Variable& q, const Variable& k, const Variable& v,
                                 const AttentionOptions& options);
/// The same from one fused projection [B,T,3,H,K] (query, key, value), with one gradient of that shape:
/// [B,Q,H,K] for the first Q = `queries` positions, which attend to all T.
[[nodiscard]] Variable self_attention(const Variable& qkv, int64_t queries, const AttentionOptions& options);
/// The same from q [B,Tq,H,K] and a fused projection of the memory [B,Tk,2,H,K] (key, value).
[[nodiscard]] Variable cross_attention(const Variable& q, const Variable& kv,
                                       const AttentionOptions& options);
/// The weights that attention gives the values, [B,H,Tq,Tk] on the CPU, for observers; rows without an
/// allowed key are zero. No gradients.
[[nodiscard]] Tensor attention_probabilities(const Tensor& q, const Tensor& k,
                                             const AttentionOptions& options);

struct LstmOutput {
  Variable h;       // [B,T,H], zero rows past each length
  Variable h_last;  // [B,H]
  Variable c_last;  // [B,H]
};
/// One layer over x_gates [B,T,4H] = x W_ih^T + b (gates i,f,g,o); w_hh [4H,H]; h0, c0 [B,H] or undefined
/// (zeros); lengths i32 [B] or undefined (all T).
[[nodiscard]] LstmOutput lstm(const Variable& x_gates, const Variable& w_hh, const Variable& h0,
                              const Variable& c0, const Tensor& lengths, bool reverse);

// ---- losses (ops_loss.cpp)
// A loss over a part of a batch (a micro-batch, a rank's share) is divided by the denominator of the whole, so
// that the parts' losses and gradients add up to the whole's.

/// Label-smoothed cross-entropy, summed over counted rows and divided by `denominator` (0: their number);
/// logits [...,V], targets i32 [...]. Rows whose target is `ignore_index` do not count; no counted row gives 0.
[[nodiscard]] Variable cross_entropy(const Variable& logits, const Tensor& targets, int32_t ignore_index,
                                     double label_smoothing, double denominator = 0);
/// Masked L1 distillation (eq. 6): student [B,n,D], teacher [B,D] or [B,n,D] (no gradient), valid u8 [B,n]
/// or undefined. Summed over the elements of valid rows and divided by D times `denominator` (0: the number
/// of valid rows).
[[nodiscard]] Variable l1_distill(const Variable& student, const Tensor& teacher, const Tensor& valid,
                                  double denominator = 0);

}  // namespace clipcap::diff
