// One LSTM layer over a batch of sequences: the recurrent part, after the input projection.
//
// Equation   a_t = x_gates_t + W_hh h_{t-1};  i, f, o = sigmoid(a_t);  g = tanh(a_t)
//            c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
//            (Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; gate order i, f, g, o,
//            as PyTorch)
// Shapes     x_gates, gates, dx_gates [B,T,4H]; w_hh [4H,H]; h, c, dh, h_previous [B,T,H]; states [B,H];
//            lengths [B]. x_gates = x W_ih^T + b_ih + b_hh comes from one GEMM over all steps, and
//            dW_hh = sum_t dx_gates_t^T h_{t-1} is one GEMM afterwards, over the h_previous of backward.
// Layout     contiguous. x_gates may alias gates, and dx_gates may alias gates.
// Lengths    any number; below 0 counts as 0, above T as T, in every kernel and in both directions. Rows
//            past the length: h, c, gates, dx_gates and h_previous are zero, x_gates and dh are not read.
//            h_last and c_last are the states at a sequence's own end: h0 and c0 for length 0.
// reverse    each sequence is read from its own last step to its first; outputs stay at their time index,
//            h_last is then the state at time 0, and h0 stands before the last step.
// Saved      activated gates and c, 20 H bytes a step in float, and h, which is an output anyway; backward
//            recomputes tanh(c).
// Numerics   float accumulation (double in the oracle).
// Determinism bitwise for any thread count, and a sequence's result does not depend on the other sequences
//            of the batch.
// Cost       8 B T H^2 FLOPs forward and backward each.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct LstmFwd {
  const T* x_gates = nullptr;        // [B,T,4H] x W_ih^T + b_ih + b_hh
  const T* w_hh = nullptr;           // [4H,H]
  const T* h0 = nullptr;             // [B,H] or null: zeros
  const Real<T>* c0 = nullptr;       // [B,H] or null: zeros
  const int32_t* lengths = nullptr;  // [B] or null: all T
  T* h = nullptr;                    // [B,T,H] zero rows past the length
  Real<T>* c = nullptr;              // [B,T,H] or null
  T* gates = nullptr;                // [B,T,4H] activated i, f, g, o for backward, or null
  T* h_last = nullptr;               // [B,H] or null
  Real<T>* c_last = nullptr;         // [B,H] or null
  int64_t batch = 0;
  int64_t steps = 0;   // T
  int64_t hidden = 0;  // H
  bool reverse = false;
};

template <class T>
struct LstmBwd {
  const T* dh = nullptr;             // [B,T,H] or null: zeros
  const T* dh_last = nullptr;        // [B,H] or null
  const Real<T>* dc_last = nullptr;  // [B,H] or null
  const T* w_hh = nullptr;           // [4H,H]
  const T* h = nullptr;              // [B,T,H] as forward wrote it; read for h_previous only
  const T* h0 = nullptr;             // [B,H] or null: zeros; read for h_previous only
  const T* gates = nullptr;          // [B,T,4H] as forward wrote them
  const Real<T>* c = nullptr;        // [B,T,H] as forward wrote them
  const Real<T>* c0 = nullptr;       // [B,H] or null
  const int32_t* lengths = nullptr;  // [B] or null
  T* dx_gates = nullptr;             // [B,T,4H] overwritten, zero past the length
  T* h_previous = nullptr;           // [B,T,H] or null: the h that each step saw, zero past the length
  T* dh0 = nullptr;                  // [B,H] or null
  Real<T>* dc0 = nullptr;            // [B,H] or null
  int64_t batch = 0;
  int64_t steps = 0;
  int64_t hidden = 0;
  bool reverse = false;
};

/// The recurrent product, 8 H^2 a step, and some 25 operations a cell; the weight is read once.
template <class T>
[[nodiscard]] Cost cost(const LstmFwd<T>& p) {
  const double steps = static_cast<double>(p.batch) * static_cast<double>(p.steps);
  const auto hidden = static_cast<double>(p.hidden);
  const double saved = (p.c != nullptr ? sizeof(Real<T>) : 0) + (p.gates != nullptr ? 4 * sizeof(T) : 0);
  return {steps * hidden * (8 * hidden + 25), (4 * steps * hidden + 4 * hidden * hidden) * sizeof(T),
          steps * hidden * (sizeof(T) + saved)};
}
/// The transposed product, 8 H^2 a step, and some 30 operations a cell.
template <class T>
[[nodiscard]] Cost cost(const LstmBwd<T>& p) {
  const double steps = static_cast<double>(p.batch) * static_cast<double>(p.steps);
  const auto hidden = static_cast<double>(p.hidden);
  return {steps * hidden * (8 * hidden + 30),
          steps * hidden * ((p.dh != nullptr ? 5 : 4) * sizeof(T) + sizeof(Real<T>)) +
              4 * hidden * hidden * sizeof(T),
          4 * steps * hidden * sizeof(T)};
}

extern Op<LstmFwd> lstm_fwd;
extern Op<LstmBwd> lstm_bwd;

namespace reference {  // the oracle: float, double, bfloat16
template <class T>
void lstm_fwd(const LstmFwd<T>& p);
template <class T>
void lstm_bwd(const LstmBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
