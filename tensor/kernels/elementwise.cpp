#include "tensor/kernels/elementwise.h"

#include "tensor/kernels/isa.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(binary, Binary<float>)
CLIPCAP_ISA_KERNEL(affine, Affine<float>)
Op<Binary> binary{"binary", binary_cpu, reference::binary, reference::binary, reference::binary};
Op<Affine> affine{"affine", affine_cpu, reference::affine, reference::affine, reference::affine};

namespace reference {

template <class T>
void binary(const Binary<T>& p) {
  int64_t count = 1;
  for (int d = 0; d < p.rank; ++d) count *= p.sizes[d];
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    int64_t a_at = 0;
    int64_t b_at = 0;
    for (int d = p.rank - 1; d >= 0; --d) {
      const int64_t index = rest % p.sizes[d];
      rest /= p.sizes[d];
      a_at += index * p.a_strides[d];
      b_at += index * p.b_strides[d];
    }
    const Real<T> a = real(p.a[a_at]);
    const Real<T> b = real(p.b[b_at]);
    switch (p.kind) {
      case BinaryKind::add:
        p.y[i] = static_cast<T>(a + b);
        break;
      case BinaryKind::sub:
        p.y[i] = static_cast<T>(a - b);
        break;
      case BinaryKind::mul:
        p.y[i] = static_cast<T>(a * b);
        break;
      case BinaryKind::div:
        p.y[i] = static_cast<T>(a / b);
        break;
    }
  }
}

template <class T>
void affine(const Affine<T>& p) {
  for (int64_t i = 0; i < p.count; ++i) p.y[i] = static_cast<T>(real(p.x[i]) * p.scale + p.shift);
}

template void binary(const Binary<float>&);
template void binary(const Binary<double>&);
template void binary(const Binary<bfloat16>&);
template void affine(const Affine<float>&);
template void affine(const Affine<double>&);
template void affine(const Affine<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
