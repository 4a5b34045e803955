#include "tensor/kernels/lstm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(lstm_fwd, LstmFwd<float>)
CLIPCAP_ISA_KERNEL(lstm_bwd, LstmBwd<float>)
Op<LstmFwd> lstm_fwd{"lstm_fwd", lstm_fwd_cpu, reference::lstm_fwd, reference::lstm_fwd, reference::lstm_fwd};
Op<LstmBwd> lstm_bwd{"lstm_bwd", lstm_bwd_cpu, reference::lstm_bwd, reference::lstm_bwd, reference::lstm_bwd};

namespace reference {
namespace {

template <class P>
int64_t length_of(const P& p, int64_t b) {
  return p.lengths == nullptr ? p.steps : std::clamp<int64_t>(p.lengths[b], 0, p.steps);
}

// Row b of an optional [B,H] state, as it is computed with.
template <class R, class T>
std::vector<R> state_row(const T* state, int64_t b, int64_t hidden) {
  std::vector<R> row(static_cast<size_t>(hidden), R{0});
  for (int64_t u = 0; state != nullptr && u < hidden; ++u) row[u] = static_cast<R>(state[b * hidden + u]);
  return row;
}

template <class T, class R>
void store_row(const std::vector<R>& row, T* to) {
  for (size_t u = 0; to != nullptr && u < row.size(); ++u) to[u] = static_cast<T>(row[u]);
}

template <class T>
T* row_or_null(T* base, int64_t offset) {
  return base == nullptr ? nullptr : base + offset;
}

}  // namespace

template <class T>
void lstm_fwd(const LstmFwd<T>& p) {
  using R = Real<T>;
  const int64_t hidden = p.hidden;
  const auto sigmoid = [](R x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t length = length_of(p, b);
    std::vector<R> h = state_row<R>(p.h0, b, hidden);
    std::vector<R> c = state_row<R>(p.c0, b, hidden);
    std::vector<R> a(static_cast<size_t>(4 * hidden));
    for (int64_t step = 0; step < length; ++step) {
      const int64_t t = b * p.steps + (p.reverse ? length - 1 - step : step);
      for (int64_t r = 0; r < 4 * hidden; ++r) {
        R total = 0;
        for (int64_t u = 0; u < hidden; ++u) total += real(p.w_hh[r * hidden + u]) * h[u];
        a[r] = total + real(p.x_gates[t * 4 * hidden + r]);
      }
      for (int64_t u = 0; u < hidden; ++u) {
        const R i = sigmoid(a[u]);
        const R f = sigmoid(a[hidden + u]);
        const R g = std::tanh(a[2 * hidden + u]);
        const R o = sigmoid(a[3 * hidden + u]);
        c[u] = f * c[u] + i * g;
        h[u] = o * std::tanh(c[u]);
        p.h[t * hidden + u] = static_cast<T>(h[u]);
        if (p.c != nullptr) p.c[t * hidden + u] = c[u];
        if (p.gates != nullptr) {
          T* gates = p.gates + t * 4 * hidden + u;
          gates[0] = static_cast<T>(i);
          gates[hidden] = static_cast<T>(f);
          gates[2 * hidden] = static_cast<T>(g);
          gates[3 * hidden] = static_cast<T>(o);
        }
      }
    }
    for (int64_t t = b * p.steps + length; t < (b + 1) * p.steps; ++t) {
      std::fill_n(p.h + t * hidden, hidden, T(0));
      if (p.c != nullptr) std::fill_n(p.c + t * hidden, hidden, R{0});
      if (p.gates != nullptr) std::fill_n(p.gates + t * 4 * hidden, 4 * hidden, T(0));
    }
    store_row(h, row_or_null(p.h_last, b * hidden));
    store_row(c, row_or_null(p.c_last, b * hidden));
  }
}

template <class T>
void lstm_bwd(const LstmBwd<T>& p) {
  using R = Real<T>;
  const int64_t hidden = p.hidden;
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t length = length_of(p, b);
    const std::vector<R> c0 = state_row<R>(p.c0, b, hidden);
    std::vector<R> dh = state_row<R>(p.dh_last, b, hidden);
    std::vector<R> dc = state_row<R>(p.dc_last, b, hidden);
    for (int64_t step = length - 1; step >= 0; --step) {
      const int64_t t = b * p.steps + (p.reverse ? length - 1 - step : step);
      const R* c_prev = step == 0 ? c0.data() : p.c + (p.reverse ? t + 1 : t - 1) * hidden;
      std::vector<R> da(static_cast<size_t>(4 * hidden));
      for (int64_t u = 0; u < hidden; ++u) {
        const T* gates = p.gates + t * 4 * hidden + u;
        const R i = real(gates[0]);
        const R f = real(gates[hidden]);
        const R g = real(gates[2 * hidden]);
        const R o = real(gates[3 * hidden]);
        const R tanh_c = std::tanh(p.c[t * hidden + u]);
        const R dh_total = dh[u] + (p.dh != nullptr ? real(p.dh[t * hidden + u]) : R{0});
        const R dc_total = dc[u] + dh_total * o * (1 - tanh_c * tanh_c);
        da[u] = dc_total * g * i * (1 - i);
        da[hidden + u] = dc_total * c_prev[u] * f * (1 - f);
        da[2 * hidden + u] = dc_total * i * (1 - g * g);
        da[3 * hidden + u] = dh_total * tanh_c * o * (1 - o);
        dc[u] = dc_total * f;
      }
      for (int64_t u = 0; u < hidden; ++u) {
        dh[u] = 0;
        for (int64_t r = 0; r < 4 * hidden; ++r) dh[u] += da[r] * real(p.w_hh[r * hidden + u]);
      }
      store_row(da, p.dx_gates + t * 4 * hidden);
    }
    std::fill_n(p.dx_gates + (b * p.steps + length) * 4 * hidden, (p.steps - length) * 4 * hidden, T(0));
    if (p.h_previous != nullptr) {
      T* seen = p.h_previous + b * p.steps * hidden;
      std::fill_n(seen, p.steps * hidden, T(0));
      for (int64_t step = 0; step < length; ++step) {
        const int64_t t = p.reverse ? length - 1 - step : step;
        const T* before = p.h0 != nullptr ? p.h0 + b * hidden : nullptr;
        if (step > 0) before = p.h + (b * p.steps + (p.reverse ? t + 1 : t - 1)) * hidden;
        if (before != nullptr) std::copy_n(before, hidden, seen + t * hidden);
      }
    }
    store_row(dh, row_or_null(p.dh0, b * hidden));
    store_row(dc, row_or_null(p.dc0, b * hidden));
  }
}

template void lstm_fwd(const LstmFwd<float>&);
template void lstm_fwd(const LstmFwd<double>&);
template void lstm_fwd(const LstmFwd<bfloat16>&);
template void lstm_bwd(const LstmBwd<float>&);
template void lstm_bwd(const LstmBwd<double>&);
template void lstm_bwd(const LstmBwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
