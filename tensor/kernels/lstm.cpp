#include "tensor/kernels/lstm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(lstm_fwd, LstmFwd<float>)
CLIPCAP_ISA_KERNEL(lstm_bwd, LstmBwd<float>)
Op<void(const LstmFwd<float>&)> lstm_fwd{"lstm_fwd", lstm_fwd_cpu};
Op<void(const LstmBwd<float>&)> lstm_bwd{"lstm_bwd", lstm_bwd_cpu};

namespace reference {
namespace {

template <class P>
int64_t length_of(const P& p, int64_t b) {
  return p.lengths == nullptr ? p.steps : std::clamp<int64_t>(p.lengths[b], 0, p.steps);
}

// Row b of an optional [B,H] state.
template <class T>
std::vector<T> initial_state(const T* state, int64_t b, int64_t hidden) {
  std::vector<T> row(static_cast<size_t>(hidden), T{0});
  if (state != nullptr) std::copy_n(state + b * hidden, hidden, row.begin());
  return row;
}

}  // namespace

template <class T>
void lstm_fwd(const LstmFwd<T>& p) {
  const int64_t hidden = p.hidden;
  const auto sigmoid = [](T x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t length = length_of(p, b);
    std::vector<T> h = initial_state(p.h0, b, hidden);
    std::vector<T> c = initial_state(p.c0, b, hidden);
    std::vector<T> a(static_cast<size_t>(4 * hidden));
    for (int64_t step = 0; step < length; ++step) {
      const int64_t t = b * p.steps + (p.reverse ? length - 1 - step : step);
      for (int64_t r = 0; r < 4 * hidden; ++r) {
        T total = 0;
        for (int64_t u = 0; u < hidden; ++u) total += p.w_hh[r * hidden + u] * h[u];
        a[r] = total + p.x_gates[t * 4 * hidden + r];
      }
      for (int64_t u = 0; u < hidden; ++u) {
        const T i = sigmoid(a[u]);
        const T f = sigmoid(a[hidden + u]);
        const T g = std::tanh(a[2 * hidden + u]);
        const T o = sigmoid(a[3 * hidden + u]);
        c[u] = f * c[u] + i * g;
        h[u] = o * std::tanh(c[u]);
        p.h[t * hidden + u] = h[u];
        if (p.c != nullptr) p.c[t * hidden + u] = c[u];
        if (p.gates != nullptr) {
          T* gates = p.gates + t * 4 * hidden + u;
          gates[0] = i;
          gates[hidden] = f;
          gates[2 * hidden] = g;
          gates[3 * hidden] = o;
        }
      }
    }
    for (int64_t t = b * p.steps + length; t < (b + 1) * p.steps; ++t) {
      std::fill_n(p.h + t * hidden, hidden, T{0});
      if (p.c != nullptr) std::fill_n(p.c + t * hidden, hidden, T{0});
      if (p.gates != nullptr) std::fill_n(p.gates + t * 4 * hidden, 4 * hidden, T{0});
    }
    if (p.h_last != nullptr) std::copy(h.begin(), h.end(), p.h_last + b * hidden);
    if (p.c_last != nullptr) std::copy(c.begin(), c.end(), p.c_last + b * hidden);
  }
}

template <class T>
void lstm_bwd(const LstmBwd<T>& p) {
  const int64_t hidden = p.hidden;
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t length = length_of(p, b);
    const std::vector<T> c0 = initial_state(p.c0, b, hidden);
    std::vector<T> dh = initial_state(p.dh_last, b, hidden);
    std::vector<T> dc = initial_state(p.dc_last, b, hidden);
    for (int64_t step = length - 1; step >= 0; --step) {
      const int64_t t = b * p.steps + (p.reverse ? length - 1 - step : step);
      const T* c_prev = step == 0 ? c0.data() : p.c + (p.reverse ? t + 1 : t - 1) * hidden;
      std::vector<T> da(static_cast<size_t>(4 * hidden));
      for (int64_t u = 0; u < hidden; ++u) {
        const T* gates = p.gates + t * 4 * hidden + u;
        const T i = gates[0];
        const T f = gates[hidden];
        const T g = gates[2 * hidden];
        const T o = gates[3 * hidden];
        const T tanh_c = std::tanh(p.c[t * hidden + u]);
        const T dh_total = dh[u] + (p.dh != nullptr ? p.dh[t * hidden + u] : T{0});
        const T dc_total = dc[u] + dh_total * o * (1 - tanh_c * tanh_c);
        da[u] = dc_total * g * i * (1 - i);
        da[hidden + u] = dc_total * c_prev[u] * f * (1 - f);
        da[2 * hidden + u] = dc_total * i * (1 - g * g);
        da[3 * hidden + u] = dh_total * tanh_c * o * (1 - o);
        dc[u] = dc_total * f;
      }
      for (int64_t u = 0; u < hidden; ++u) {
        dh[u] = 0;
        for (int64_t r = 0; r < 4 * hidden; ++r) dh[u] += da[r] * p.w_hh[r * hidden + u];
      }
      std::copy(da.begin(), da.end(), p.dx_gates + t * 4 * hidden);
    }
    std::fill_n(p.dx_gates + (b * p.steps + length) * 4 * hidden, (p.steps - length) * 4 * hidden, T{0});
    if (p.dh0 != nullptr) std::copy(dh.begin(), dh.end(), p.dh0 + b * hidden);
    if (p.dc0 != nullptr) std::copy(dc.begin(), dc.end(), p.dc0 + b * hidden);
  }
}

template void lstm_fwd(const LstmFwd<float>&);
template void lstm_fwd(const LstmFwd<double>&);
template void lstm_bwd(const LstmBwd<float>&);
template void lstm_bwd(const LstmBwd<double>&);

}  // namespace reference
}  // namespace clipcap
