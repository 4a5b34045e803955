#include "tensor/finite.h"

#include <algorithm>

namespace clipcap {
namespace {

// All exponent bits set: NaN or infinity, in every IEEE format and in bf16.
template <class Bits>
int64_t first_with(const Bits* bits, int64_t count, Bits exponent) {
  constexpr int64_t kBlock = 4096;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    int found = 0;
    for (int64_t i = begin; i < end; ++i) found |= static_cast<int>((bits[i] & exponent) == exponent);
    if (found == 0) continue;
    for (int64_t i = begin; i < end; ++i) {
      if ((bits[i] & exponent) == exponent) return i;
    }
  }
  return -1;
}

}  // namespace

int64_t first_nonfinite(const Tensor& tensor) {
  if (!is_floating(tensor.dtype()) || tensor.numel() == 0) return -1;
  const Tensor host = tensor.to(kCpu).contiguous();
  const auto* raw = static_cast<const void*>(host.raw());
  switch (tensor.dtype()) {
    case DType::f64:
      return first_with(static_cast<const uint64_t*>(raw), host.numel(), uint64_t{0x7ff0'0000'0000'0000});
    case DType::f16:
      return first_with(static_cast<const uint16_t*>(raw), host.numel(), uint16_t{0x7c00});
    case DType::bf16:
      return first_with(static_cast<const uint16_t*>(raw), host.numel(), uint16_t{0x7f80});
    default:
      return first_with(static_cast<const uint32_t*>(raw), host.numel(), uint32_t{0x7f80'0000});
  }
}

}  // namespace clipcap
