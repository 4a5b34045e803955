#include "nn/grad_arena.h"

#include <unordered_set>

namespace clipcap::nn {

GradArena::GradArena(const std::vector<NamedParameter>& parameters) {
  constexpr int64_t kAlignment = 256;  // bytes
  std::unordered_set<const VariableState*> seen;
  int64_t total = 0;
  for (const NamedParameter& named : parameters) {
    const Variable& parameter = named.variable;
    if (!parameter.requires_grad() || !seen.insert(parameter.state().get()).second) continue;
    if (!parts_.empty()) {
      const Variable& first = parts_.front().parameter;
      CHECK(parameter.dtype() == first.dtype() && parameter.value().device() == first.value().device(),
            "GradArena: ", named.name, " is ", parameter.dtype(), " on ", parameter.value().device(),
            ", the first parameter ", first.dtype(), " on ", first.value().device());
    }
    const int64_t length = parameter.value().numel();
    const int64_t step = kAlignment / size_of(parameter.dtype());
    parts_.push_back({parameter, {total, length}});
    total += (length + step - 1) / step * step;
  }
  if (parts_.empty()) return;
  const Tensor& value = parts_.front().parameter.value();
  flat_ = Tensor::zeros({total}, value.dtype(), value.device());
  for (const Part& part : parts_) {
    part.parameter.set_grad_buffer(
        flat_.slice(0, part.range.start, part.range.length).reshape(part.parameter.shape()));
  }
}

GradArena::Range GradArena::range(const Variable& parameter) const {
  for (const Part& part : parts_) {
    if (part.parameter.state() == parameter.state()) return part.range;
  }
  fail("GradArena: the parameter ", parameter.shape(), " is not in the arena");
}

void GradArena::zero() {
  for (const Part& part : parts_) part.parameter.zero_grad();
  if (flat_.defined()) flat_.fill_zero();
}

void GradArena::define_all() {
  for (const Part& part : parts_) {
    VariableState& state = *part.parameter.state();
    if (state.grad.defined()) continue;
    state.grad_buffer.fill_zero();
    state.grad = state.grad_buffer;
  }
}

}  // namespace clipcap::nn
