#include "tensor/kernels/dropout.h"

#include "tensor/kernels/isa.h"
#include "tensor/random.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(dropout, Dropout<float>)
Op<void(const Dropout<float>&)> dropout{"dropout", dropout_cpu};

namespace reference {

template <class T>
void dropout(const Dropout<T>& p) {
  const T factor = T{1} / (T{1} - static_cast<T>(p.p));
  for (int64_t i = 0; i < p.numel; ++i) {
    const Philox4 random = philox(p.seed, p.stream, static_cast<uint64_t>(i) / 4);
    const bool keep = uniform_from_bits(random.v[i % 4]) >= p.p;
    p.y[i] = (p.residual != nullptr ? p.residual[i] : T{0}) + (keep ? p.x[i] * factor : T{0});
  }
}

template void dropout(const Dropout<float>&);
template void dropout(const Dropout<double>&);

}  // namespace reference
}  // namespace clipcap
