// Bound by the integer arithmetic of Philox, which the compiler vectorises as it is; the reference serves both roles.
#include "tensor/kernels/dropout.h"

#include "tensor/parallel.h"
#include "tensor/random.h"

namespace clipcap {
namespace reference {

template <class T>
void dropout(const Dropout<T>& p) {
  const T factor = T{1} / (T{1} - static_cast<T>(p.p));
  parallel_for((p.numel + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const Philox4 random = philox(p.seed, p.stream, static_cast<uint64_t>(block));
      for (int64_t i = 4 * block; i < 4 * block + 4 && i < p.numel; ++i) {
        const bool keep = uniform_from_bits(random.v[i % 4]) >= p.p;
        p.y[i] = (p.residual != nullptr ? p.residual[i] : T{0}) + (keep ? p.x[i] * factor : T{0});
      }
    }
  });
}

template void dropout(const Dropout<float>&);
template void dropout(const Dropout<double>&);

}  // namespace reference

Op<void(const Dropout<float>&)> dropout{"dropout", reference::dropout<float>};

}  // namespace clipcap
