#include "nn/layers.h"

namespace clipcap::nn {

Variable Conv1d::forward(const Variable& x, const Run& run) const {
  CHECK(x.value().rank() == 3, "Conv1d: x is ", x.shape(), "; expected [B,T,C]");
  Call call(run, *this, "forward", x);
  const int64_t time = x.dim(1);
  const int64_t reach = kernel_ / 2;
  const Variable zeros(Tensor::zeros({x.dim(0), reach, x.dim(2)}, x.dtype(), x.value().device()));
  const Variable padded = diff::concat({zeros, x, zeros}, 1);
  std::vector<Variable> shifted;
  for (int64_t tap = 0; tap < kernel_; ++tap) shifted.push_back(diff::slice(padded, 1, tap, time));
  return call.returns(taps.forward(diff::concat(shifted, 2), run));
}

}  // namespace clipcap::nn
