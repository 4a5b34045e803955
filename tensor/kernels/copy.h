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
  const void* source;
  void* destination;
  Shape sizes;
  Strides source_strides;
  Strides destination_strides;
  int64_t element_bytes;  // 1, 2, 4 or 8
};

struct Convert {
  const void* source;  // contiguous
  void* destination;   // contiguous
  int64_t count;
  DType from;
  DType to;  // float to integer truncates toward zero
};

extern Op<void(const StridedCopy&)> strided_copy;
extern Op<void(const Convert&)> convert;

}  // namespace clipcap
