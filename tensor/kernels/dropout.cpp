#include "tensor/kernels/dropout.h"

#include "tensor/kernels/isa.h"
#include "tensor/random.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(dropout, Dropout<float>)
Op<Dropout> dropout{"dropout", dropout_cpu, reference::dropout, reference::dropout, reference::dropout};

namespace reference {

template <class T>
void dropout(const Dropout<T>& p) {
  using R = Real<T>;
  const R factor = R{1} / (R{1} - static_cast<R>(p.p));
  for (int64_t i = 0; i < p.numel; ++i) {
    const Philox4 random = philox(p.seed, p.stream, static_cast<uint64_t>(i) / 4);
    const bool keep = uniform_from_bits(random.v[i % 4]) >= p.p;
    p.y[i] = static_cast<T>((p.residual != nullptr ? real(p.residual[i]) : R{0}) +
                            (keep ? real(p.x[i]) * factor : R{0}));
  }
}

template void dropout(const Dropout<float>&);
template void dropout(const Dropout<double>&);
template void dropout(const Dropout<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
