// Every tensor is cut into chunks, and the chunks of all tensors are shared out among the threads, so that a
// model of one large table and a hundred small vectors still keeps every thread busy.
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

struct Constants {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, inverse_correction1, inverse_correction2, eps,
      grad_scale, lr;
};

CLIPCAP_INLINE void update(Vec& param, Vec g, Vec& m, Vec& v, float weight_decay, const Constants& c) {
  g = g * c.grad_scale;
  m = m * c.beta1 + g * c.one_minus_beta1;
  v = v * c.beta2 + g * g * c.one_minus_beta2;
  const Vec direction = m * c.inverse_correction1 / (sqrt(v * c.inverse_correction2) + c.eps);
  param -= (param * weight_decay + direction) * c.lr;
}

void run_range(const AdamwTensor<float>& x, int64_t begin, int64_t end, const Constants& c) {
  // By value: a store could otherwise be one into the constants, which would then be read again every time.
  each_vector(end - begin, [=](int64_t offset, int64_t width) {
    const int64_t i = begin + offset;
    Vec param = load_width(x.param + i, width);
    Vec m = load_width(x.m + i, width);
    Vec v = load_width(x.v + i, width);
    update(param, load_width(x.grad + i, width), m, v, x.weight_decay, c);
    store_width(x.param + i, param, width);
    store_width(x.m + i, m, width);
    store_width(x.v + i, v, width);
  });
}

typedef float HalfVec __attribute__((vector_size(kLanes * 2)));
typedef double VecDouble __attribute__((vector_size(kLanes * 4)));

CLIPCAP_INLINE VecDouble half_squares(const float* x) {
  HalfVec half;
  __builtin_memcpy(&half, x, sizeof half);
  const VecDouble wide = __builtin_convertvector(half, VecDouble);
  return wide * wide;
}

double range_squares(const float* x, int64_t count) {
  VecDouble totals[4] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    for (int j = 0; j < 4; ++j) totals[j] += half_squares(x + i + j * kLanes / 2);
  }
  const VecDouble total = (totals[0] + totals[1]) + (totals[2] + totals[3]);
  double result = 0;
  for (int lane = 0; lane < kLanes / 2; ++lane) result += total[lane];
  for (; i < count; ++i) result += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return result;
}

}  // namespace

void adamw(const AdamwStep<float>& p) {
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
      for (int64_t chunk = begin > first ? begin - first : 0; chunk < chunks && first + chunk < end;
           ++chunk) {
        const int64_t last = (chunk + 1) * kChunk < p.numels[t] ? (chunk + 1) * kChunk : p.numels[t];
        partial[first + chunk] = range_squares(p.tensors[t] + chunk * kChunk, last - chunk * kChunk);
      }
      first += chunks;
    }
  });
  *p.result = 0;
  for (int64_t i = 0; i < total; ++i) *p.result += partial[i];
}

}  // namespace clipcap::CLIPCAP_ISA
