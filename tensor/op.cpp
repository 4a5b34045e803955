#include "tensor/op.h"

#include "tensor/kernels/activation.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/l1_distill.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/lstm.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/pool2d.h"
#include "tensor/kernels/reduce.h"

namespace clipcap {

OpHook op_hook = nullptr;

std::span<const OpInfo* const> all_ops() {
  static const OpInfo* const table[] = {
      &adamw,
      &affine,
      &attention_bwd,
      &attention_fwd,
      &bias_activation_bwd,
      &bias_activation_fwd,
      &binary,
      &conv2d_fwd,
      &convert,
      &cross_entropy,
      &dropout,
      &embedding_bwd,
      &embedding_fwd,
      &l1_distill,
      &layer_norm_bwd,
      &layer_norm_fwd,
      &lstm_bwd,
      &lstm_fwd,
      &matmul,
      &max_pool2d,
      &mean_pool2d,
      &softmax_fwd,
      &strided_copy,
      &sum_middle,
      &sum_squares,
  };
  return table;
}

}  // namespace clipcap
