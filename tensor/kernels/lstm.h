// One LSTM layer over a batch of sequences: the recurrent part, after the input projection.
//
// Equation   a_t = x_gates_t + W_hh h_{t-1};  i, f, o = sigmoid;  g = tanh;  (Hochreiter & Schmidhuber 1997
// with the
//            forget gate of Gers et al. 2000; gate order i, f, g, o, as PyTorch)
//            c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
// Shapes     x_gates, gates, dx_gates [B,T,4H]; w_hh [4H,H]; h, c, dh [B,T,H]; states [B,H]; lengths [B].
//            x_gates = x W_ih^T + b_ih + b_hh comes from one GEMM over all steps; dW_hh = sum_t dx_gates_t^T
//            h_{t-1} is a GEMM outside, too.
// Layout     contiguous. x_gates may alias gates, and dx_gates may alias gates.
// Lengths    0 <= lengths[b] <= T (clamped); rows past the length: h, c, gates and dx_gates are zero, x_gates
// and dh
//            are not read. h_last, c_last are the states at a sequence's own end, h0, c0 for length 0.
// reverse    each sequence is read from its own last step to its first; outputs stay at their time index, and
// h_last
//            is then the state at time 0.
// Saved      activated gates and c: 20 H bytes a step; backward recomputes tanh(c).
// Numerics   float accumulation (double in the oracle).
// Determinism bitwise, and a sequence's result does not depend on the other sequences of the batch.
// Cost       8 B T H^2 FLOPs forward and backward each.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct LstmFwd {
  const T* x_gates;        // [B,T,4H] x W_ih^T + b_ih + b_hh
  const T* w_hh;           // [4H,H]
  const T* h0;             // [B,H] or null: zeros
  const Real<T>* c0;       // [B,H] or null: zeros
  const int32_t* lengths;  // [B] or null: all T
  T* h;                    // [B,T,H] zero rows past the length
  Real<T>* c;              // [B,T,H] or null
  T* gates;                // [B,T,4H] activated i, f, g, o for backward, or null
  T* h_last;               // [B,H] or null
  Real<T>* c_last;         // [B,H] or null
  int64_t batch;
  int64_t steps;   // T
  int64_t hidden;  // H
  bool reverse;
};

template <class T>
struct LstmBwd {
  const T* dh;             // [B,T,H] or null: zeros
  const T* dh_last;        // [B,H] or null
  const Real<T>* dc_last;  // [B,H] or null
  const T* w_hh;           // [4H,H]
  const T* gates;          // [B,T,4H] as forward wrote them
  const Real<T>* c;        // [B,T,H] as forward wrote them
  const Real<T>* c0;       // [B,H] or null
  const int32_t* lengths;  // [B] or null
  T* dx_gates;             // [B,T,4H] overwritten, zero past the length
  T* dh0;                  // [B,H] or null
  Real<T>* dc0;            // [B,H] or null
  int64_t batch;
  int64_t steps;
  int64_t hidden;
  bool reverse;
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
