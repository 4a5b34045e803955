#include "tensor/op.h"

#include "tensor/backend.h"
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
#include "tensor/kernels/l2_normalize.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/lstm.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/pool2d.h"
#include "tensor/kernels/reduce.h"

namespace clipcap {

OpHook op_hook = nullptr;

bool OpInfo::has(DeviceType device, DType dtype) const {
  for (size_t i = 0; i < kComputeDTypes.size(); ++i) {
    if (kComputeDTypes[i] == dtype) return available[static_cast<size_t>(device)][i];
  }
  return false;
}

std::string OpInfo::slots() const {
  std::string text;
  for (int type = 0; type < kDeviceTypes; ++type) {
    for (size_t i = 0; i < kComputeDTypes.size(); ++i) {
      if (!available[static_cast<size_t>(type)][i]) continue;
      text += concat_text(text.empty() ? "" : ", ", name_of(static_cast<DeviceType>(type)), ' ',
                          kComputeDTypes[i]);
    }
  }
  return text.empty() ? "none" : text;
}

DeviceScope::DeviceScope(Device device) {
  if (device.type == DeviceType::cuda) before_ = cuda_enter_device(device.index);
}
DeviceScope::~DeviceScope() {
  if (before_ >= 0) cuda_leave_device(before_);
}

void fail_missing_slot(const OpInfo& op, Device device, DType dtype) {
  fail(op.name, ": no kernel for ", dtype, " on ", device, "; there is: ", op.slots());
}

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
      &l2_normalize_bwd,
      &l2_normalize_fwd,
      &layer_norm_bwd,
      &layer_norm_fwd,
      &lstm_bwd,
      &lstm_fwd,
      &matmul,
      &max_pool2d,
      &mean_pool2d,
      &prepare_conv2d,
      &prepare_matmul,
      &softmax_fwd,
      &strided_copy,
      &sum_middle,
      &sum_squares,
  };
  return table;
}

}  // namespace clipcap
