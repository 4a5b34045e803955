#include "tensor/kernels/reduce.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

constexpr int64_t kBlock = 64;

// One row of `count` adjacent numbers: kLanes running sums, then their tree.
float row_sum(const float* x, int64_t count) {
  double total = 0;
  for (int64_t start = 0; start < count; start += kBlock * kLanes) {
    const int64_t end = start + kBlock * kLanes < count ? start + kBlock * kLanes : count;
    Vec partial{};
    int64_t i = start;
    for (; i + kLanes <= end; i += kLanes) partial += load(x + i);
    if (i < end) partial += load_partial(x + i, end - i);
    total += static_cast<double>(sum(partial));
  }
  return static_cast<float>(total);
}

// Columns [first, first + width), width <= kLanes.
void column_sums(const float* x, int64_t rows, int64_t stride, int64_t width, float* y) {
  Vec total{};
  for (int64_t start = 0; start < rows; start += kBlock) {
    const int64_t end = start + kBlock < rows ? start + kBlock : rows;
    Vec partial{};
    if (width == kLanes) {
      for (int64_t r = start; r < end; ++r) partial += load(x + r * stride);
    } else {
      for (int64_t r = start; r < end; ++r) partial += load_partial(x + r * stride, width);
    }
    total += partial;
  }
  store_partial(y, total, width);
}

}  // namespace

void sum_middle(const SumMiddle<float>& p) {
  if (p.inner == 1) {
    parallel_for(p.outer, 32768 / (p.reduce + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) p.y[o] = row_sum(p.x + o * p.reduce, p.reduce);
    });
    return;
  }
  const int64_t blocks = (p.inner + kLanes - 1) / kLanes;
  parallel_for(p.outer * blocks, 32768 / (p.reduce * kLanes + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t o = job / blocks;
      const int64_t first = job % blocks * kLanes;
      const int64_t width = p.inner - first < kLanes ? p.inner - first : kLanes;
      column_sums(p.x + o * p.reduce * p.inner + first, p.reduce, p.inner, width, p.y + o * p.inner + first);
    }
  });
}

}  // namespace clipcap::CLIPCAP_ISA
