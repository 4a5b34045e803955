// Strided copy and dtype conversion: how views become contiguous and slices are written.
//
// Shapes     any, up to six dimensions; sizes and strides in elements.
// Layout     source and destination strided independently; stride 0 repeats.
// Determinism bitwise; elements are independent.
// Cost       reads and writes every element once.
#pragma once

#include "tensor/dtype.h"
#include "tensor/op.h"
#include "tensor/shape.h"

namespace clipcap {

struct StridedCopy {
  const void* source = nullptr;
  void* destination = nullptr;
  Shape sizes;
  Strides source_strides;
  Strides destination_strides;
  DType type = DType::f32;
  [[nodiscard]] DType dtype() const { return type; }
};

struct Convert {
  const void* source = nullptr;  // contiguous
  void* destination = nullptr;   // contiguous
  int64_t count = 0;
  DType from = DType::f32;
  DType to = DType::f32;  // float to integer truncates toward zero
  [[nodiscard]] DType dtype() const { return to; }
};

[[nodiscard]] inline Cost cost(const StridedCopy& p) {
  const double bytes = static_cast<double>(p.sizes.numel()) * static_cast<double>(size_of(p.type));
  return {0, bytes, bytes};
}
[[nodiscard]] inline Cost cost(const Convert& p) {
  const auto count = static_cast<double>(p.count);
  return {0, count * static_cast<double>(size_of(p.from)), count * static_cast<double>(size_of(p.to))};
}

extern UntypedOp<StridedCopy> strided_copy;
extern UntypedOp<Convert> convert;

}  // namespace clipcap
