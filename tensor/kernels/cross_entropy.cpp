#include "tensor/kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/kernels/isa.h"

namespace clipcap {
namespace {

// The first target out of range is reported; the kernels then count its row as ignored.
template <class T>
void check_targets(const CrossEntropy<T>& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const int32_t target = p.targets[r];
    if (target == p.ignore_index || (target >= 0 && target < p.vocab)) continue;
    report_index_error(p.error, {IndexedOp::cross_entropy, r, target, p.vocab});
  }
}

}  // namespace

CLIPCAP_ISA_KERNEL(cross_entropy, CrossEntropy<float>)
CLIPCAP_ISA_KERNEL(softmax_fwd, SoftmaxFwd<float>)
static void cross_entropy_checked_cpu(const CrossEntropy<float>& p) {
  check_targets(p);
  cross_entropy_cpu(p);
}
Op<CrossEntropy> cross_entropy{"cross_entropy", cross_entropy_checked_cpu, reference::cross_entropy,
                               reference::cross_entropy, reference::cross_entropy};
Op<SoftmaxFwd> softmax_fwd{"softmax_fwd", softmax_fwd_cpu, reference::softmax_fwd, reference::softmax_fwd,
                           reference::softmax_fwd};

namespace reference {
namespace {

// log of the sum of exponentials; -inf for a row that is all -inf.
template <class T>
Real<T> log_sum_exp(const T* x, int64_t count) {
  using R = Real<T>;
  constexpr R kInfinity = std::numeric_limits<R>::infinity();
  R largest = -kInfinity;
  for (int64_t j = 0; j < count; ++j) largest = std::max(largest, real(x[j]));
  if (largest == -kInfinity) return largest;
  R total = 0;
  for (int64_t j = 0; j < count; ++j) total += std::exp(real(x[j]) - largest);
  return largest + std::log(total);
}

}  // namespace

template <class T>
void cross_entropy(const CrossEntropy<T>& p) {
  using R = Real<T>;
  check_targets(p);
  const auto counted = [&](int32_t target) {
    return target != p.ignore_index && target >= 0 && target < p.vocab;
  };
  double denominator = p.denominator;
  for (int64_t r = 0; p.denominator == 0 && r < p.rows; ++r) denominator += counted(p.targets[r]) ? 1 : 0;
  const R smoothing = static_cast<R>(p.label_smoothing);
  double loss = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* x = p.logits + r * p.vocab;
    T* dx = p.dlogits == nullptr ? nullptr : p.dlogits + r * p.vocab;
    const int32_t target = p.targets[r];
    if (!counted(target)) {
      for (int64_t j = 0; dx != nullptr && j < p.vocab; ++j) dx[j] = T(0);
      continue;
    }
    const R lse = log_sum_exp(x, p.vocab);
    R row_loss = (1 - smoothing) * (lse - real(x[target]));
    if (smoothing > 0) {
      R total = 0;
      for (int64_t j = 0; j < p.vocab; ++j) total += real(x[j]);
      row_loss += smoothing * (lse - total / static_cast<R>(p.vocab));
    }
    loss += static_cast<double>(row_loss);
    for (int64_t j = 0; dx != nullptr && j < p.vocab; ++j) {
      const R wanted = (j == target ? 1 - smoothing : R{0}) + smoothing / static_cast<R>(p.vocab);
      dx[j] = static_cast<T>((std::exp(real(x[j]) - lse) - wanted) / static_cast<R>(denominator));
    }
  }
  p.loss[0] = denominator > 0 ? static_cast<R>(loss / denominator) : R{0};
}

template <class T>
void softmax_fwd(const SoftmaxFwd<T>& p) {
  using R = Real<T>;
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* x = p.x + r * p.dim;
    T* y = p.y + r * p.dim;
    R lse = log_sum_exp(x, p.dim);
    if (lse == -std::numeric_limits<R>::infinity()) lse = 0;  // all -inf: exp(-inf - 0) = 0
    for (int64_t j = 0; j < p.dim; ++j) {
      y[j] = static_cast<T>(p.log ? real(x[j]) - lse : std::exp(real(x[j]) - lse));
    }
  }
}

template void cross_entropy(const CrossEntropy<float>&);
template void cross_entropy(const CrossEntropy<double>&);
template void cross_entropy(const CrossEntropy<bfloat16>&);
template void softmax_fwd(const SoftmaxFwd<float>&);
template void softmax_fwd(const SoftmaxFwd<double>&);
template void softmax_fwd(const SoftmaxFwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
