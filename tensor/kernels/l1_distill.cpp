#include "tensor/kernels/l1_distill.h"

#include <cmath>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(l1_distill, L1Distill<float>)
Op<L1Distill> l1_distill{"l1_distill", l1_distill_cpu, reference::l1_distill, reference::l1_distill,
                         reference::l1_distill};

namespace reference {

template <class T>
void l1_distill(const L1Distill<T>& p) {
  using R = Real<T>;
  double rows = p.denominator;
  for (int64_t i = 0; p.denominator == 0 && i < p.batch * p.frames; ++i) {
    rows += p.valid == nullptr || p.valid[i] != 0 ? 1 : 0;
  }
  const double elements = rows * static_cast<double>(p.dim);
  const R share = elements > 0 ? R{1} / static_cast<R>(elements) : R{0};
  double total = 0;
  for (int64_t i = 0; i < p.batch * p.frames; ++i) {
    const bool counts = p.valid == nullptr || p.valid[i] != 0;
    const int64_t b = i / p.frames;
    const T* teacher =
        p.teacher_row_stride == 0 ? p.teacher + b * p.dim : p.teacher + i * p.teacher_row_stride;
    for (int64_t d = 0; d < p.dim; ++d) {
      const R difference = real(p.student[i * p.dim + d]) - real(teacher[d]);
      if (counts) total += static_cast<double>(std::abs(difference));
      if (p.dstudent != nullptr) {
        p.dstudent[i * p.dim + d] = static_cast<T>(!counts || difference == 0 ? R{0}
                                                   : difference > 0           ? share
                                                                              : -share);
      }
    }
  }
  *p.loss = static_cast<R>(total * static_cast<double>(share));
}

template void l1_distill(const L1Distill<float>&);
template void l1_distill(const L1Distill<double>&);
template void l1_distill(const L1Distill<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
