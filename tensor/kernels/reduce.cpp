#include "tensor/kernels/reduce.h"

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(sum_middle, SumMiddle<float>)
Op<SumMiddle> sum_middle{"sum_middle", sum_middle_cpu, reference::sum_middle, reference::sum_middle,
                         reference::sum_middle};

namespace reference {

template <class T>
void sum_middle(const SumMiddle<T>& p) {
  for (int64_t o = 0; o < p.outer; ++o) {
    for (int64_t i = 0; i < p.inner; ++i) {
      Real<T> total = 0;
      for (int64_t r = 0; r < p.reduce; ++r) total += real(p.x[(o * p.reduce + r) * p.inner + i]);
      p.y[o * p.inner + i] = static_cast<T>(total);
    }
  }
}

template void sum_middle(const SumMiddle<float>&);
template void sum_middle(const SumMiddle<double>&);
template void sum_middle(const SumMiddle<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
