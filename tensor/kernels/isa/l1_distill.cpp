#include "tensor/kernels/l1_distill.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

// Sum of |student - teacher| over one row, and the gradient's sign times `share`.
float one_row(const float* student, const float* teacher, float* grad, int64_t dim, float share) {
  Vec total{};
  const Vec up = broadcast(share);
  each_vector(dim, [&](int64_t i, int64_t width) {
    const Vec difference = load_width(student + i, width) - load_width(teacher + i, width);
    total += abs(difference);
    if (grad == nullptr) return;
    store_width(grad + i, select(difference > Vec{}, up, select(difference < Vec{}, -up, Vec{})), width);
  });
  return sum(total);
}

}  // namespace

void l1_distill(const L1Distill<float>& p) {
  const int64_t rows = p.batch * p.frames;
  double counted = p.denominator;
  for (int64_t i = 0; p.denominator == 0 && i < rows; ++i) {
    counted += p.valid == nullptr || p.valid[i] != 0 ? 1 : 0;
  }
  const double elements = counted * static_cast<double>(p.dim);
  const float share = elements > 0 ? 1.0F / static_cast<float>(elements) : 0.0F;
  // One number a row, added in order: the same loss for any number of threads.
  auto* sums = static_cast<float*>(thread_scratch(static_cast<size_t>(rows + 1) * sizeof(float), 1));
  parallel_for(rows, 8192 / (p.dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* grad = p.dstudent != nullptr ? p.dstudent + i * p.dim : nullptr;
      if (p.valid != nullptr && p.valid[i] == 0) {
        sums[i] = 0;
        if (grad != nullptr) __builtin_memset(grad, 0, static_cast<size_t>(p.dim) * sizeof(float));
        continue;
      }
      const float* teacher =
          p.teacher_row_stride == 0 ? p.teacher + i / p.frames * p.dim : p.teacher + i * p.teacher_row_stride;
      sums[i] = one_row(p.student + i * p.dim, teacher, grad, p.dim, share);
    }
  });
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) total += static_cast<double>(sums[i]);
  *p.loss = static_cast<float>(total * static_cast<double>(share));
}

}  // namespace clipcap::CLIPCAP_ISA
