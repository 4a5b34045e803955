#include "tensor/kernels/cross_entropy.h"

#include "tensor/kernels/isa/tile.h"
#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr int64_t kBlock = 64 * kLanes;  // float sums are this long before they go into a double

// Largest value (0 for a row of -inf, so that subtracting it is safe).
float row_max(const float* x, int64_t count) {
  Vec first = broadcast(-kInfinity);
  Vec second = first;
  int64_t j = 0;
  for (; j + 2 * kLanes <= count; j += 2 * kLanes) {
    first = max(load(x + j), first);
    second = max(load(x + j + kLanes), second);
  }
  for (; j < count; j += kLanes) {
    first = max(count - j < kLanes ? load_partial(x + j, count - j, -kInfinity) : load(x + j), first);
  }
  const float largest = max(max(first, second));
  return largest == -kInfinity ? 0.0F : largest;
}

double row_sum(const float* x, int64_t count) {
  double total = 0;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = start + kBlock < count ? start + kBlock : count;
    Vec partial{};
    int64_t j = start;
    for (; j + kLanes <= end; j += kLanes) partial += load(x + j);
    if (j < end) partial += load_partial(x + j, end - j);
    total += static_cast<double>(sum(partial));
  }
  return total;
}

// Sum of exp(x - base); the exponentials go to y unless it is null. y may be x.
double row_exp(const float* x, int64_t count, float base, float* y) {
  double total = 0;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = start + kBlock < count ? start + kBlock : count;
    Vec partial{};
    int64_t j = start;
    for (; j + kLanes <= end; j += kLanes) {
      const Vec e = exp_nonpositive(load(x + j) - base);
      if (y != nullptr) store(y + j, e);
      partial += e;
    }
    if (j < end) {
      const Vec e = exp_nonpositive(load_partial(x + j, end - j, -kInfinity) - base);
      if (y != nullptr) store_partial(y + j, e, end - j);
      partial += e;
    }
    total += static_cast<double>(sum(partial));
  }
  return total;
}

// y = x * factor - shift.
void scale_row(const float* x, int64_t count, float factor, float shift, float* y) {
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) store(y + j, load(x + j) * factor - shift);
  if (j < count) store_partial(y + j, load_partial(x + j, count - j) * factor - shift, count - j);
}

}  // namespace

void cross_entropy(const CrossEntropy<float>& p) {
  const auto counted = [&](int32_t target) {
    return target != p.ignore_index && target >= 0 && target < p.vocab;
  };
  double denominator = p.denominator;
  for (int64_t r = 0; p.denominator == 0 && r < p.rows; ++r) denominator += counted(p.targets[r]) ? 1 : 0;
  auto* row_loss = static_cast<double*>(thread_scratch(static_cast<size_t>(p.rows + 1) * 8, 0));
  const double smoothing = static_cast<double>(p.label_smoothing);
  const double inverse_count = denominator > 0 ? 1.0 / denominator : 0.0;
  const double everywhere = p.vocab > 0 ? smoothing / static_cast<double>(p.vocab) : 0.0;
  parallel_for(p.rows, 16384 / (p.vocab + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = p.logits + r * p.vocab;
      float* dx = p.dlogits == nullptr ? nullptr : p.dlogits + r * p.vocab;
      const int32_t target = p.targets[r];
      row_loss[r] = 0;
      if (!counted(target)) {
        if (dx != nullptr) __builtin_memset(dx, 0, static_cast<size_t>(p.vocab) * 4);
        continue;
      }
      const double wanted = static_cast<double>(x[target]);
      const float base = row_max(x, p.vocab);
      const double mean = smoothing > 0 ? row_sum(x, p.vocab) / static_cast<double>(p.vocab) : 0.0;
      const double total = row_exp(x, p.vocab, base, dx);
      const double lse = static_cast<double>(base) + __builtin_log(total);
      row_loss[r] = (1.0 - smoothing) * (lse - wanted) + (smoothing > 0 ? smoothing * (lse - mean) : 0.0);
      if (dx == nullptr) continue;
      // The target's entry in double: softmax - 1 cancels for a confident row.
      const double own = static_cast<double>(dx[target]) / total - (1.0 - smoothing) - everywhere;
      scale_row(dx, p.vocab, static_cast<float>(inverse_count / total),
                static_cast<float>(everywhere * inverse_count), dx);
      dx[target] = static_cast<float>(own * inverse_count);
    }
  });
  double loss = 0;
  for (int64_t r = 0; r < p.rows; ++r) loss += row_loss[r];
  p.loss[0] = static_cast<float>(loss * inverse_count);
}

void softmax_fwd(const SoftmaxFwd<float>& p) {
  parallel_for(p.rows, 16384 / (p.dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = p.x + r * p.dim;
      float* y = p.y + r * p.dim;
      const float base = row_max(x, p.dim);
      const double total = row_exp(x, p.dim, base, p.log ? nullptr : y);
      if (p.log) {
        scale_row(x, p.dim, 1.0F, total == 0 ? 0.0F : base + static_cast<float>(__builtin_log(total)), y);
      } else {
        scale_row(y, p.dim, total == 0 ? 0.0F : static_cast<float>(1.0 / total), 0.0F, y);
      }
    }
  });
}

}  // namespace clipcap::CLIPCAP_ISA
