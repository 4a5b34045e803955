#include "tensor/kernels/l1_distill.h"

#include <cmath>

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(l1_distill, L1Distill<float>)
Op<void(const L1Distill<float>&)> l1_distill{"l1_distill", l1_distill_cpu};

namespace reference {

template <class T>
void l1_distill(const L1Distill<T>& p) {
  int64_t rows = 0;
  for (int64_t i = 0; i < p.batch * p.frames; ++i) rows += p.valid == nullptr || p.valid[i] != 0 ? 1 : 0;
  const T share = rows * p.dim > 0 ? T{1} / static_cast<T>(rows * p.dim) : T{0};
  double total = 0;
  for (int64_t i = 0; i < p.batch * p.frames; ++i) {
    const bool counts = p.valid == nullptr || p.valid[i] != 0;
    const int64_t b = i / p.frames;
    const T* teacher =
        p.teacher_row_stride == 0 ? p.teacher + b * p.dim : p.teacher + i * p.teacher_row_stride;
    for (int64_t d = 0; d < p.dim; ++d) {
      const T difference = p.student[i * p.dim + d] - teacher[d];
      if (counts) total += static_cast<double>(std::abs(difference));
      if (p.dstudent != nullptr) {
        p.dstudent[i * p.dim + d] = !counts || difference == 0 ? T{0} : difference > 0 ? share : -share;
      }
    }
  }
  *p.loss = static_cast<T>(total * static_cast<double>(share));
}

template void l1_distill(const L1Distill<float>&);
template void l1_distill(const L1Distill<double>&);

}  // namespace reference
}  // namespace clipcap
