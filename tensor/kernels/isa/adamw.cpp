// Every tensor is cut into chunks, and the chunks of all tensors are shared out among the threads, so that a model of
// one large table and a hundred small vectors still keeps every thread busy.
#include "tensor/kernels/adamw.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

constexpr int64_t kChunk = 16384;

int64_t chunks_of(int64_t numel) { return (numel + kChunk - 1) / kChunk; }

double power(double base, int64_t exponent) {
  double result = 1;
  for (double square = base; exponent > 0; exponent /= 2, square *= square) {
    if (exponent % 2 != 0) result *= square;
  }
  return result;
}

CLIPCAP_INLINE Vec square_root(Vec x) {
  Vec y;
  for (int i = 0; i < kLanes; ++i) y[i] = __builtin_sqrtf(x[i]);
  return y;
}

struct Constants {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, inverse_correction1, inverse_correction2, eps, grad_scale, lr;
};

CLIPCAP_INLINE void update(Vec& param, Vec g, Vec& m, Vec& v, float weight_decay, const Constants& c) {
  g = g * c.grad_scale;
  m = m * c.beta1 + g * c.one_minus_beta1;
  v = v * c.beta2 + g * g * c.one_minus_beta2;
  const Vec direction = m * c.inverse_correction1 / (square_root(v * c.inverse_correction2) + c.eps);
  param -= (param * weight_decay + direction) * c.lr;
}

void run_range(const AdamwTensor<float>& x, int64_t begin, int64_t end, const Constants& c) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    Vec param = load(x.param + i);
    Vec m = load(x.m + i);
    Vec v = load(x.v + i);
    update(param, load(x.grad + i), m, v, x.weight_decay, c);
    store(x.param + i, param);
    store(x.m + i, m);
    store(x.v + i, v);
  }
  if (i < end) {
    const int64_t rest = end - i;
    Vec param = load_partial(x.param + i, rest);
    Vec m = load_partial(x.m + i, rest);
    Vec v = load_partial(x.v + i, rest);
    update(param, load_partial(x.grad + i, rest), m, v, x.weight_decay, c);
    store_partial(x.param + i, param, rest);
    store_partial(x.m + i, m, rest);
    store_partial(x.v + i, v, rest);
  }
}

}  // namespace

void adamw(const Adamw<float>& p) {
  Constants c{};
  c.beta1 = static_cast<float>(p.beta1);
  c.beta2 = static_cast<float>(p.beta2);
  c.one_minus_beta1 = static_cast<float>(1 - p.beta1);
  c.one_minus_beta2 = static_cast<float>(1 - p.beta2);
  c.inverse_correction1 = static_cast<float>(1 / (1 - power(p.beta1, p.step)));
  c.inverse_correction2 = static_cast<float>(1 / (1 - power(p.beta2, p.step)));
  c.eps = static_cast<float>(p.eps);
  c.grad_scale = static_cast<float>(p.grad_scale);
  int64_t total = 0;
  for (int64_t t = 0; t < p.count; ++t) total += chunks_of(p.tensors[t].numel);
  parallel_for(total, 1, [&](int64_t begin, int64_t end) {
    Constants own = c;
    int64_t first = 0;
    for (int64_t t = 0; t < p.count; ++t) {
      const AdamwTensor<float>& x = p.tensors[t];
      const int64_t chunks = chunks_of(x.numel);
      const int64_t from = begin > first ? begin - first : 0;
      const int64_t to = end - first < chunks ? end - first : chunks;
      own.lr = static_cast<float>(p.lr * static_cast<double>(x.lr_scale));
      if (from < to) run_range(x, from * kChunk, to * kChunk < x.numel ? to * kChunk : x.numel, own);
      first += chunks;
    }
  });
}

void sum_squares(const SumSquares<float>& p) {
  int64_t total = 0;
  for (int64_t t = 0; t < p.count; ++t) total += chunks_of(p.numels[t]);
  // One partial sum a chunk, added in order afterwards: the same result for any number of threads.
  auto* partial = static_cast<double*>(thread_scratch(static_cast<size_t>(total + 1) * sizeof(double)));
  parallel_for(total, 4, [&](int64_t begin, int64_t end) {
    int64_t first = 0;
    for (int64_t t = 0; t < p.count && first < end; ++t) {
      const int64_t chunks = chunks_of(p.numels[t]);
      for (int64_t chunk = begin > first ? begin - first : 0; chunk < chunks && first + chunk < end; ++chunk) {
        const int64_t last = (chunk + 1) * kChunk < p.numels[t] ? (chunk + 1) * kChunk : p.numels[t];
        double sums = 0;
        int64_t i = chunk * kChunk;
        while (i < last) {
          Vec lanes{};
          const int64_t stop = i + 64 * kLanes < last ? i + 64 * kLanes : last;
          for (; i + kLanes <= stop; i += kLanes) {
            const Vec x = load(p.tensors[t] + i);
            lanes += x * x;
          }
          if (i < stop) {
            const Vec x = load_partial(p.tensors[t] + i, stop - i);
            lanes += x * x;
            i = stop;
          }
          sums += static_cast<double>(sum(lanes));
        }
        partial[first + chunk] = sums;
      }
      first += chunks;
    }
  });
  *p.result = 0;
  for (int64_t i = 0; i < total; ++i) *p.result += partial[i];
}

}  // namespace clipcap::CLIPCAP_ISA
