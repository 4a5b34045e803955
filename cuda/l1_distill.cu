// Masked L1 distillation on the GPU, loss and gradient in one launch (tensor/kernels/l1_distill.h says what
// is computed).
//
// The gradient's scale needs the number of valid rows before the first element is written. Every block counts
// them for itself: B*n bytes, a few KiB that sit in the cache, against a second launch. A warp takes whole
// rows, 16 bytes a lane and access, and sums its terms in float; a block's sum is one double. The block that
// finishes last (it draws the last ticket from a counter) adds the blocks' sums, always in the same order,
// whichever block that is.
#include "tensor/kernels/l1_distill.h"

#include <algorithm>

#include "cuda/device.cuh"
#include "cuda/reduce.cuh"

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
// Two blocks on each of 128 processors; one partial sum a thread at the end.
constexpr int64_t kMaxBlocks = 256;

// partials [gridDim.x]; ticket is 0 before and after. Shared memory: double [kWarps + 1].
template <class T, int kVector>
__global__ void __launch_bounds__(kThreads)
    l1_distill_kernel(L1Distill<T> p, double* partials, unsigned* ticket) {
  double* scratch = shared_memory<double>();
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int64_t rows = p.batch * p.frames;

  double valid_rows = p.denominator != 0 ? p.denominator : static_cast<double>(rows);
  if (p.denominator == 0 && p.valid != nullptr) {
    int mine = 0;
    for (int64_t row = thread; row < rows; row += kThreads) mine += p.valid[row] != 0 ? 1 : 0;
    valid_rows = block_sum(static_cast<double>(mine), scratch);
  }
  const double elements = valid_rows * static_cast<double>(p.dim);
  const float step = elements > 0 ? static_cast<float>(1.0 / elements) : 0.0F;

  double total = 0.0;
  const int64_t row_step = static_cast<int64_t>(gridDim.x) * kWarps;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kWarps + thread / kWarp;
  // The row is frame `frame` of video `video`. Both are carried along: a 64-bit division a row would be slow.
  int64_t video = first_row / p.frames;
  int64_t frame = first_row % p.frames;
  const int64_t video_step = row_step / p.frames;
  const int64_t frame_step = row_step % p.frames;
  for (int64_t row = first_row; row < rows; row += row_step) {
    const T* teacher = p.teacher_row_stride == 0 ? p.teacher + video * p.dim : p.teacher + row * p.dim;
    video += video_step;
    frame += frame_step;
    if (frame >= p.frames) {
      frame -= p.frames;
      ++video;
    }
    const bool valid = p.valid == nullptr || p.valid[row] != 0;
    if (!valid && p.dstudent == nullptr) continue;
    float row_total = 0.0F;
    for (int64_t d = static_cast<int64_t>(lane) * kVector; d < p.dim; d += kWarp * kVector) {
      float gradient[kVector] = {};
      if (valid) {  // what padding holds is never read: it may be anything
        float student[kVector];
        float wanted[kVector];
        load_vector(student, p.student + row * p.dim + d);
        load_vector(wanted, teacher + d);
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const float difference = student[i] - wanted[i];
          row_total += fabsf(difference);
          gradient[i] = difference > 0.0F ? step : (difference < 0.0F ? -step : 0.0F);
        }
      }
      if (p.dstudent != nullptr) store_vector(p.dstudent + row * p.dim + d, gradient);
    }
    total += row_total;
  }

  total = block_sum(total, scratch);
  unsigned* is_last = reinterpret_cast<unsigned*>(scratch + kWarps);
  if (thread == 0) {
    partials[blockIdx.x] = total;
    __threadfence();  // the partial sum is visible before the ticket is drawn
    *is_last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1 ? 1U : 0U;
  }
  __syncthreads();
  if (*is_last == 0) return;  // the whole block
  __threadfence();
  const double loss = block_sum(thread < static_cast<int>(gridDim.x) ? partials[thread] : 0.0, scratch);
  if (thread == 0) *p.loss = from_float<T>(elements > 0 ? static_cast<float>(loss / elements) : 0.0F);
}

}  // namespace

void l1_distill_cuda(const L1Distill<float>& p) {
  CHECK(p.teacher_row_stride == 0 || p.teacher_row_stride == p.dim, "l1_distill: teacher_row_stride is ",
        p.teacher_row_stride, ", expected 0 or ", p.dim);
  const int64_t rows = p.batch * p.frames;
  if (rows == 0 || p.dim == 0) {
    fill_zero(p.loss, sizeof(float), current_device());
    return;
  }
  const int64_t blocks = std::min(kMaxBlocks, ceil_div(rows, kWarps));
  const Scratch<double> partials(blocks);
  const LaunchShape shape{blocks, kThreads, (kWarps + 1) * sizeof(double)};
  if (rows_are_aligned<4>(p.dim, p.student, p.teacher, p.dstudent)) {
    launch("l1_distill", shape, l1_distill_kernel<float, 4>, p, partials.data(), ticket_counter());
  } else {
    launch("l1_distill", shape, l1_distill_kernel<float, 1>, p, partials.data(), ticket_counter());
  }
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
