#include "tensor/kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/kernels/isa.h"

namespace clipcap {
namespace {

template <class T>
void check_targets(const CrossEntropy<T>& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const int32_t target = p.targets[r];
    CHECK(target == p.ignore_index || (target >= 0 && target < p.vocab), "cross_entropy: row ", r,
          " has target ", target, "; expected 0 <= target < V = ", p.vocab, " or ignore_index ",
          p.ignore_index);
  }
}

}  // namespace

CLIPCAP_ISA_KERNEL(cross_entropy, CrossEntropy<float>)
CLIPCAP_ISA_KERNEL(softmax_fwd, SoftmaxFwd<float>)
static void cross_entropy_checked_cpu(const CrossEntropy<float>& p) {
  check_targets(p);
  cross_entropy_cpu(p);
}
Op<void(const CrossEntropy<float>&)> cross_entropy{"cross_entropy", cross_entropy_checked_cpu};
Op<void(const SoftmaxFwd<float>&)> softmax_fwd{"softmax_fwd", softmax_fwd_cpu};

namespace reference {
namespace {

// log of the sum of exponentials; -inf for a row that is all -inf.
template <class T>
T log_sum_exp(const T* x, int64_t count) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  T largest = -kInfinity;
  for (int64_t j = 0; j < count; ++j) largest = std::max(largest, x[j]);
  if (largest == -kInfinity) return largest;
  T total = 0;
  for (int64_t j = 0; j < count; ++j) total += std::exp(x[j] - largest);
  return largest + std::log(total);
}

}  // namespace

template <class T>
void cross_entropy(const CrossEntropy<T>& p) {
  check_targets(p);
  int64_t count = 0;
  for (int64_t r = 0; r < p.rows; ++r) count += p.targets[r] != p.ignore_index ? 1 : 0;
  const T smoothing = static_cast<T>(p.label_smoothing);
  double loss = 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* x = p.logits + r * p.vocab;
    T* dx = p.dlogits == nullptr ? nullptr : p.dlogits + r * p.vocab;
    const int32_t target = p.targets[r];
    if (target == p.ignore_index) {
      for (int64_t j = 0; dx != nullptr && j < p.vocab; ++j) dx[j] = 0;
      continue;
    }
    const T lse = log_sum_exp(x, p.vocab);
    T row_loss = (1 - smoothing) * (lse - x[target]);
    if (smoothing > 0) {
      T total = 0;
      for (int64_t j = 0; j < p.vocab; ++j) total += x[j];
      row_loss += smoothing * (lse - total / static_cast<T>(p.vocab));
    }
    loss += static_cast<double>(row_loss);
    for (int64_t j = 0; dx != nullptr && j < p.vocab; ++j) {
      const T wanted = (j == target ? 1 - smoothing : T{0}) + smoothing / static_cast<T>(p.vocab);
      dx[j] = (std::exp(x[j] - lse) - wanted) / static_cast<T>(count);
    }
  }
  p.loss[0] = count > 0 ? static_cast<T>(loss / static_cast<double>(count)) : T{0};
}

template <class T>
void softmax_fwd(const SoftmaxFwd<T>& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* x = p.x + r * p.dim;
    T* y = p.y + r * p.dim;
    T lse = log_sum_exp(x, p.dim);
    if (lse == -std::numeric_limits<T>::infinity()) lse = 0;  // all -inf: exp(-inf - 0) = 0
    for (int64_t j = 0; j < p.dim; ++j) y[j] = p.log ? x[j] - lse : std::exp(x[j] - lse);
  }
}

template void cross_entropy(const CrossEntropy<float>&);
template void cross_entropy(const CrossEntropy<double>&);
template void softmax_fwd(const SoftmaxFwd<float>&);
template void softmax_fwd(const SoftmaxFwd<double>&);

}  // namespace reference
}  // namespace clipcap
