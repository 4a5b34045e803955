// The recurrent weights are packed once per call into panels that one register tile streams through: forward,
// a panel holds the four gates of kLanes hidden units, so a tile ends with everything its units' state update
// needs. Few sequences: threads share each step by hidden units. Many: each thread takes sequences of its
// own, with no barrier.
#include "tensor/kernels/lstm.h"

#include "tensor/kernels/isa/tile.h"
#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

#if defined(__AVX2__) && !defined(__AVX512F__)
constexpr int kForwardRows = 3;
constexpr int kBackwardRows = 6;
#else
constexpr int kForwardRows = 6;
constexpr int kBackwardRows = 12;
#endif
constexpr int kBackwardVectors = 2;
constexpr int64_t kBackwardUnits = kBackwardVectors * kLanes;
constexpr int64_t kRowsPerThread = 16;  // from here on, sequences rather than units are shared out

// `count` units are left from here on.
CLIPCAP_INLINE Vec load_units(const float* x, int64_t count) {
  return load_width(x, count < kLanes ? count : kLanes);
}
CLIPCAP_INLINE void store_units(float* x, Vec v, int64_t count) {
  store_width(x, v, count < kLanes ? count : kLanes);
}

template <class P>
int64_t length_of(const P& p, int64_t b) {
  if (p.lengths == nullptr) return p.steps;
  const int64_t length = p.lengths[b];
  return length < 0 ? 0 : length < p.steps ? length : p.steps;
}

// Row of [B,T,...] that sequence b reads at its own step.
template <class P>
int64_t row_at(const P& p, int64_t b, int64_t step) {
  return b * p.steps + (p.reverse ? length_of(p, b) - 1 - step : step);
}

void zero(float* x, int64_t count) {
  if (count > 0) __builtin_memset(x, 0, static_cast<size_t>(count) * 4);
}

float* scratch(int64_t floats, int slot) {
  return static_cast<float*>(thread_scratch(static_cast<size_t>(floats + 16) * 4, slot));
}

// State [B, stride] from an optional [B,H], zero-padded.
void load_state(const float* from, int64_t batch, int64_t hidden, int64_t stride, float* to) {
  zero(to, batch * stride);
  if (from == nullptr) return;
  for (int64_t b = 0; b < batch; ++b) {
    __builtin_memcpy(to + b * stride, from + b * hidden, static_cast<size_t>(hidden) * 4);
  }
}

void save_state(const float* from, int64_t batch, int64_t hidden, int64_t stride, float* to) {
  if (to == nullptr) return;
  for (int64_t b = 0; b < batch; ++b) {
    __builtin_memcpy(to + b * hidden, from + b * stride, static_cast<size_t>(hidden) * 4);
  }
}

struct Forward {
  const LstmFwd<float>& p;
  const float* w;  // panels [H/lanes][H][4][lanes]
  float* h[2];     // [B,stride], read and written alternately
  float* c;        // [B,stride]
  int64_t stride;
};

template <int M>
void forward_tile(const Forward& s, int64_t step, int64_t b0, int64_t unit_block) {
  const LstmFwd<float>& p = s.p;
  const int64_t u = unit_block * kLanes;
  const int64_t count = p.hidden - u;
  const float* h_old = s.h[step & 1] + b0 * s.stride;
  float* h_new = s.h[(step & 1) ^ 1] + b0 * s.stride;
  Vec acc[M][4];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int g = 0; g < 4; ++g) acc[m][g] = Vec{};
  }
  tile_product<M, 4, false>(acc, p.hidden, h_old, s.stride, s.w + u * 4 * p.hidden, 4 * kLanes);
  for (int m = 0; m < M; ++m) {
    const int64_t b = b0 + m;
    const int64_t state = m * s.stride + u;
    if (step >= length_of(p, b)) {
      store(h_new + state, load(h_old + state));
      continue;
    }
    const int64_t row = row_at(p, b, step);
    const float* x = p.x_gates + row * 4 * p.hidden + u;
    const Vec i = sigmoid(acc[m][0] + load_units(x, count));
    const Vec f = sigmoid(acc[m][1] + load_units(x + p.hidden, count));
    const Vec g = tanh(acc[m][2] + load_units(x + 2 * p.hidden, count));
    const Vec o = sigmoid(acc[m][3] + load_units(x + 3 * p.hidden, count));
    const Vec c = f * load(s.c + b * s.stride + u) + i * g;
    const Vec h = o * tanh(c);
    store(s.c + b * s.stride + u, c);
    store(h_new + state, h);
    store_units(p.h + row * p.hidden + u, h, count);
    if (p.c != nullptr) store_units(p.c + row * p.hidden + u, c, count);
    if (p.gates != nullptr) {
      float* gates = p.gates + row * 4 * p.hidden + u;
      store_units(gates, i, count);
      store_units(gates + p.hidden, f, count);
      store_units(gates + 2 * p.hidden, g, count);
      store_units(gates + 3 * p.hidden, o, count);
    }
  }
}

void forward_step(const Forward& s, int64_t step, int64_t b_begin, int64_t b_end, int64_t u_begin,
                  int64_t u_end) {
  const int64_t rows = b_end - b_begin;
  const int64_t blocks = (rows + kForwardRows - 1) / kForwardRows;
  for (int64_t u = u_begin; u < u_end; ++u) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t b = b_begin + rows * block / blocks;
      switch (b_begin + rows * (block + 1) / blocks - b) {
        case 1:
          forward_tile<1>(s, step, b, u);
          break;
        case 2:
          forward_tile<2>(s, step, b, u);
          break;
#if !defined(__AVX2__) || defined(__AVX512F__)
        case 4:
          forward_tile<4>(s, step, b, u);
          break;
        case 5:
          forward_tile<5>(s, step, b, u);
          break;
        case 6:
          forward_tile<6>(s, step, b, u);
          break;
#endif
        default:
          forward_tile<3>(s, step, b, u);
          break;
      }
    }
  }
}

// w [4H,H] to panels [H/lanes][H][4][lanes]; units past H are zero.
void pack_forward(const float* w, int64_t hidden, float* out) {
  parallel_for((hidden + kLanes - 1) / kLanes, 8, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* panel = out + block * kLanes * 4 * hidden;
      const int64_t count = hidden - block * kLanes < kLanes ? hidden - block * kLanes : kLanes;
      if (count < kLanes) zero(panel, kLanes * 4 * hidden);
      for (int64_t gate = 0; gate < 4; ++gate) {
        const float* from = w + (gate * hidden + block * kLanes) * hidden;
        float* to = panel + gate * kLanes;
        // Short runs of k, so that the lines of all units' rows stay in cache.
        for (int64_t k0 = 0; k0 < hidden; k0 += 16) {
          const int64_t k_end = k0 + 16 < hidden ? k0 + 16 : hidden;
          for (int64_t l = 0; l < count; ++l) {
            for (int64_t k = k0; k < k_end; ++k) to[k * 4 * kLanes + l] = from[l * hidden + k];
          }
        }
      }
    }
  });
}

struct Backward {
  const LstmBwd<float>& p;
  const float* w;  // panels [H/units][4H][units]
  float* da[2];    // [B,4H], read and written alternately
  float* dc;       // [B,stride]
  int64_t stride;
};

// One step down for M sequences and kBackwardUnits units: the gradient that the later step sends to h, then
// this step's gates. step = -1 only does the former, into dh0.
template <int M>
void backward_tile(const Backward& s, int64_t step, int64_t b0, int64_t unit_block) {
  const LstmBwd<float>& p = s.p;
  const int64_t wide = 4 * p.hidden;
  const float* da_old = s.da[(step + 1) & 1] + b0 * wide;
  float* da_new = s.da[step & 1];
  Vec acc[M][kBackwardVectors];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < kBackwardVectors; ++n) acc[m][n] = Vec{};
  }
  if (step < p.steps - 1) {  // nothing comes from beyond the last step
    tile_product<M, kBackwardVectors, false>(acc, wide, da_old, wide,
                                             s.w + unit_block * kBackwardUnits * wide, kBackwardUnits);
  }
  for (int m = 0; m < M; ++m) {
    const int64_t b = b0 + m;
    const int64_t length = length_of(p, b);
    if (step >= length) continue;
    const int64_t row = step < 0 ? 0 : row_at(p, b, step);
    for (int n = 0; n < kBackwardVectors; ++n) {
      const int64_t u = unit_block * kBackwardUnits + n * kLanes;
      const int64_t count = p.hidden - u;
      if (count <= 0) continue;
      Vec dh = acc[m][n];
      if (step == length - 1 && p.dh_last != nullptr) dh += load_units(p.dh_last + b * p.hidden + u, count);
      if (step < 0) {
        store_units(p.dh0 + b * p.hidden + u, dh, count);
        continue;
      }
      if (p.dh != nullptr) dh += load_units(p.dh + row * p.hidden + u, count);
      const float* gates = p.gates + row * wide + u;
      const Vec i = load_units(gates, count);
      const Vec f = load_units(gates + p.hidden, count);
      const Vec g = load_units(gates + 2 * p.hidden, count);
      const Vec o = load_units(gates + 3 * p.hidden, count);
      const Vec tanh_c = tanh(load_units(p.c + row * p.hidden + u, count));
      Vec c_prev{};
      if (step > 0) {
        c_prev = load_units(p.c + (p.reverse ? row + 1 : row - 1) * p.hidden + u, count);
      } else if (p.c0 != nullptr) {
        c_prev = load_units(p.c0 + b * p.hidden + u, count);
      }
      const Vec dc = load(s.dc + b * s.stride + u) + dh * o * (1.0F - tanh_c * tanh_c);
      const Vec gate_gradient[4] = {dc * g * i * (1.0F - i), dc * c_prev * f * (1.0F - f),
                                    dc * i * (1.0F - g * g), dh * tanh_c * o * (1.0F - o)};
      store(s.dc + b * s.stride + u, dc * f);
      for (int gate = 0; gate < 4; ++gate) {
        store_units(p.dx_gates + row * wide + gate * p.hidden + u, gate_gradient[gate], count);
        store_units(da_new + b * wide + gate * p.hidden + u, gate_gradient[gate], count);
      }
    }
  }
}

void backward_step(const Backward& s, int64_t step, int64_t b_begin, int64_t b_end, int64_t u_begin,
                   int64_t u_end) {
  const int64_t rows = b_end - b_begin;
  const int64_t blocks = (rows + kBackwardRows - 1) / kBackwardRows;
  for (int64_t u = u_begin; u < u_end; ++u) {
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t b = b_begin + rows * block / blocks;
      const int64_t end = b_begin + rows * (block + 1) / blocks;
      while (b < end) {
#if !defined(__AVX2__) || defined(__AVX512F__)
        if (end - b == 12) {
          backward_tile<12>(s, step, b, u);
          b += 12;
          continue;
        }
        if (end - b >= 8) {
          backward_tile<8>(s, step, b, u);
          b += 8;
          continue;
        }
#endif
        if (end - b >= 6) {
          backward_tile<6>(s, step, b, u);
          b += 6;
        } else if (end - b >= 4) {
          backward_tile<4>(s, step, b, u);
          b += 4;
        } else if (end - b >= 2) {
          backward_tile<2>(s, step, b, u);
          b += 2;
        } else {
          backward_tile<1>(s, step, b, u);
          b += 1;
        }
      }
    }
  }
}

// What every step of a sequence saw as h: its neighbour's output, h0 at its own first step, zeros beyond.
void write_previous(const LstmBwd<float>& p) {
  const auto bytes = static_cast<size_t>(p.hidden) * 4;
  parallel_for(p.batch * p.steps, 16384 / p.hidden + 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / p.steps;
      const int64_t t = row % p.steps;
      const int64_t length = length_of(p, b);
      const int64_t first = p.reverse ? length - 1 : 0;  // the step that begins
      const float* before = p.h0 != nullptr ? p.h0 + b * p.hidden : nullptr;
      if (t != first) before = p.h + (p.reverse ? row + 1 : row - 1) * p.hidden;
      if (t >= length || before == nullptr) {
        __builtin_memset(p.h_previous + row * p.hidden, 0, bytes);
      } else {
        __builtin_memcpy(p.h_previous + row * p.hidden, before, bytes);
      }
    }
  });
}

// w [4H,H] to panels [H/units][4H][units]; columns past H are zero.
void pack_backward(const float* w, int64_t hidden, float* out) {
  parallel_for((hidden + kBackwardUnits - 1) / kBackwardUnits, 4, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* panel = out + block * kBackwardUnits * 4 * hidden;
      const int64_t first = block * kBackwardUnits;
      const int64_t count = hidden - first < kBackwardUnits ? hidden - first : kBackwardUnits;
      if (count < kBackwardUnits) zero(panel, kBackwardUnits * 4 * hidden);
      for (int64_t r = 0; r < 4 * hidden; ++r) {
        __builtin_memcpy(panel + r * kBackwardUnits, w + r * hidden + first, static_cast<size_t>(count) * 4);
      }
    }
  });
}

}  // namespace

void lstm_fwd(const LstmFwd<float>& p) {
  if (p.batch <= 0 || p.hidden <= 0) return;
  const int64_t blocks = (p.hidden + kLanes - 1) / kLanes;
  const int64_t stride = blocks * kLanes;
  float* w = scratch(stride * 4 * p.hidden, 0);
  const int64_t state = p.batch * stride;
  float* states = scratch(3 * state, 1);
  const Forward s{p, w, {states, states + state}, states + 2 * state, stride};
  if (p.steps > 0) pack_forward(p.w_hh, p.hidden, w);
  load_state(p.h0, p.batch, p.hidden, stride, s.h[0]);
  load_state(p.c0, p.batch, p.hidden, stride, s.c);
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t length = length_of(p, b);
    const int64_t row = b * p.steps + length;
    const int64_t rest = p.steps - length;
    zero(p.h + row * p.hidden, rest * p.hidden);
    if (p.c != nullptr) zero(p.c + row * p.hidden, rest * p.hidden);
    if (p.gates != nullptr) zero(p.gates + row * 4 * p.hidden, rest * 4 * p.hidden);
  }
  if (p.batch >= kRowsPerThread * thread_count()) {
    parallel_for(p.batch, kRowsPerThread, [&](int64_t begin, int64_t end) {
      for (int64_t step = 0; step < p.steps; ++step) forward_step(s, step, begin, end, 0, blocks);
    });
  } else {
    const int64_t grain = 32768 / (p.batch * p.hidden * 4 * kLanes + 1) + 1;
    for (int64_t step = 0; step < p.steps; ++step) {
      parallel_for(blocks, grain,
                   [&](int64_t begin, int64_t end) { forward_step(s, step, 0, p.batch, begin, end); });
    }
  }
  save_state(s.h[p.steps & 1], p.batch, p.hidden, stride, p.h_last);
  save_state(s.c, p.batch, p.hidden, stride, p.c_last);
}

void lstm_bwd(const LstmBwd<float>& p) {
  if (p.batch <= 0 || p.hidden <= 0) return;
  const int64_t blocks = (p.hidden + kBackwardUnits - 1) / kBackwardUnits;
  const int64_t stride = blocks * kBackwardUnits;
  float* w = scratch(stride * 4 * p.hidden, 0);
  const int64_t wide = p.batch * 4 * p.hidden;
  float* buffers = scratch(2 * wide + p.batch * stride, 1);
  const Backward s{p, w, {buffers, buffers + wide}, buffers + 2 * wide, stride};
  if (p.steps > 0) pack_backward(p.w_hh, p.hidden, w);
  zero(buffers, 2 * wide);  // sequences that have not begun send nothing
  load_state(p.dc_last, p.batch, p.hidden, stride, s.dc);
  for (int64_t b = 0; b < p.batch; ++b) {
    const int64_t length = length_of(p, b);
    zero(p.dx_gates + (b * p.steps + length) * 4 * p.hidden, (p.steps - length) * 4 * p.hidden);
  }
  if (p.h_previous != nullptr) write_previous(p);
  const int64_t last = p.dh0 != nullptr ? -1 : 0;
  if (p.batch >= kRowsPerThread * thread_count()) {
    parallel_for(p.batch, kRowsPerThread, [&](int64_t begin, int64_t end) {
      for (int64_t step = p.steps - 1; step >= last; --step) backward_step(s, step, begin, end, 0, blocks);
    });
  } else {
    const int64_t grain = 32768 / (p.batch * p.hidden * 4 * kBackwardUnits + 1) + 1;
    for (int64_t step = p.steps - 1; step >= last; --step) {
      parallel_for(blocks, grain,
                   [&](int64_t begin, int64_t end) { backward_step(s, step, 0, p.batch, begin, end); });
    }
  }
  save_state(s.dc, p.batch, p.hidden, stride, p.dc0);
}

}  // namespace clipcap::CLIPCAP_ISA
