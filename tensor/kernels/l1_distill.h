// Masked L1 distillation, loss and gradient in one pass (CLIP4VideoCap eq. 6).
//
// Equation   loss = 1/M * sum_{b,i valid,d} |student[b,i,d] - teacher[b,i,d]|,  M = D * denominator
//            dstudent = sign(student - teacher) / M on valid rows, 0 elsewhere; sign(0) = 0
//            denominator as given, or the number of valid rows
// Shapes     student, dstudent [B,n,D]; teacher [B,D] (one row for all frames) or [B,n,D]; valid [B,n].
// Layout     contiguous; teacher_row_stride = 0 repeats the teacher's row over the n frames.
// Saved      dstudent (the loss is linear in its own gradient, so backward only multiplies it).
// Numerics   a row's terms are summed in float, the rows in double; no valid row: loss 0, gradient 0. Rows
//            that are not valid are not read.
// Determinism bitwise: one sum a row, added in the order of the rows, for any thread count; on a GPU one sum
//            a block, added in the order of the blocks.
// Cost       reads 4BnD (+ teacher), writes 4BnD bytes.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct L1Distill {
  const T* student = nullptr;      // [B,n,D]
  const T* teacher = nullptr;      // [B,D] or [B,n,D]
  const uint8_t* valid = nullptr;  // [B,n], 1 = a real frame; null = all valid
  Real<T>* loss = nullptr;         // [1]
  T* dstudent = nullptr;           // [B,n,D] or null: loss only
  int64_t batch = 0;               // B
  int64_t frames = 0;              // n
  int64_t dim = 0;                 // D
  int64_t teacher_row_stride = 0;  // 0 or D: step of the teacher from frame to frame
  double denominator = 0;          // rows that the loss is the mean of; 0: the number of valid rows
};

/// A difference, its absolute value and the sum: three operations an element (of padded rows too).
template <class T>
[[nodiscard]] Cost cost(const L1Distill<T>& p) {
  const double elements =
      static_cast<double>(p.batch) * static_cast<double>(p.frames) * static_cast<double>(p.dim);
  const double teacher =
      p.teacher_row_stride == 0 ? static_cast<double>(p.batch) * static_cast<double>(p.dim) : elements;
  return {3 * elements, (elements + teacher) * sizeof(T),
          p.dstudent != nullptr ? elements * sizeof(T) : sizeof(Real<T>)};
}

extern Op<L1Distill> l1_distill;

namespace reference {
template <class T>
void l1_distill(const L1Distill<T>& p);
}  // namespace reference

}  // namespace clipcap
