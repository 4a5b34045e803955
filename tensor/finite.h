// Where a tensor stops being numbers.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace clipcap {

/// The place of the first NaN or infinity among the elements in row-major order; -1 when there is none, as in
/// tensors of integers. Runs at the speed of memory.
[[nodiscard]] int64_t first_nonfinite(const Tensor& tensor);

}  // namespace clipcap
