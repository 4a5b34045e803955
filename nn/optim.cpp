#include "nn/optim.h"

#include <cmath>
#include <unordered_set>
#include <utility>

#include "tensor/kernels/adamw.h"

namespace clipcap::nn {

AdamW::AdamW(std::vector<NamedParameter> parameters, AdamwOptions options) : options_(options) {
  std::unordered_set<const VariableState*> seen;
  for (NamedParameter& parameter : parameters) {
    if (!parameter.variable.requires_grad() || !seen.insert(parameter.variable.state().get()).second)
      continue;
    const Tensor& value = parameter.variable.value();
    CHECK(value.dtype() == DType::f32 && value.is_contiguous(), "AdamW: ", parameter.name, " is ",
          value.dtype(), "; expected contiguous f32");
    value.check_writable(("AdamW: " + parameter.name).c_str());
    slots_.push_back({std::move(parameter), Tensor::zeros(value.shape()), Tensor::zeros(value.shape()),
                      value.rank() >= 2 ? options.weight_decay : 0.0});
  }
}

void AdamW::step(double lr, double grad_scale) {
  ++steps_;
  std::vector<AdamwTensor<float>> tensors;
  std::vector<Tensor> alive;
  for (const Slot& slot : slots_) {
    const Variable& parameter = slot.parameter.variable;
    if (!parameter.grad().defined()) continue;
    parameter.value().check_writable("AdamW");  // it may have been loaded anew
    alive.push_back(parameter.grad().contiguous());
    AdamwTensor<float> tensor{};
    tensor.param = parameter.value().data<float>();
    tensor.grad = alive.back().data<float>();
    tensor.m = slot.m.data<float>();
    tensor.v = slot.v.data<float>();
    tensor.numel = parameter.value().numel();
    tensor.weight_decay = static_cast<float>(slot.weight_decay);
    tensor.lr_scale = static_cast<float>(slot.lr_scale);
    tensors.push_back(tensor);
  }
  if (tensors.empty()) return;
  AdamwStep<float> p{};
  p.tensors = tensors.data();
  p.count = static_cast<int64_t>(tensors.size());
  p.lr = lr;
  p.beta1 = options_.beta1;
  p.beta2 = options_.beta2;
  p.eps = options_.eps;
  p.step = steps_;
  p.grad_scale = grad_scale;
  adamw(kCpu, p);
}

void AdamW::zero_grad() {
  for (const Slot& slot : slots_) slot.parameter.variable.zero_grad();
}

double AdamW::grad_norm() const {
  std::vector<Tensor> alive;
  std::vector<const float*> pointers;
  std::vector<int64_t> counts;
  for (const Slot& slot : slots_) {
    const Tensor& grad = slot.parameter.variable.grad();
    if (!grad.defined()) continue;
    alive.push_back(grad.contiguous());
    pointers.push_back(alive.back().data<float>());
    counts.push_back(grad.numel());
  }
  double total = 0;
  SumSquares<float> p{};
  p.tensors = pointers.data();
  p.numels = counts.data();
  p.count = static_cast<int64_t>(pointers.size());
  p.result = &total;
  sum_squares(kCpu, p);
  return std::sqrt(total);
}

void AdamW::set_lr_scale(std::string_view prefix, double scale) {
  for (Slot& slot : slots_) {
    if (slot.parameter.name.starts_with(prefix)) slot.lr_scale = scale;
  }
}

StateDict AdamW::state() const {
  StateDict state;
  for (const Slot& slot : slots_) {
    state["m." + slot.parameter.name] = slot.m;
    state["v." + slot.parameter.name] = slot.v;
  }
  return state;
}

void AdamW::load_state(const StateDict& state, const std::string& source) {
  std::unordered_set<std::string> known;
  for (const Slot& slot : slots_) {
    known.insert("m." + slot.parameter.name);
    known.insert("v." + slot.parameter.name);
  }
  for (const auto& [name, value] : state) {
    CHECK_INPUT(known.contains(name), source, ": ", name, " is a moment of nothing that is trained now (",
                state.size(), " moments in the file, ", known.size(), " expected)");
  }
  std::vector<Tensor> loaded;
  for (const Slot& slot : slots_) {
    for (const char* prefix : {"m.", "v."}) {
      const std::string name = prefix + slot.parameter.name;
      const auto found = state.find(name);
      CHECK_INPUT(found != state.end(), source, ": missing ", name);
      CHECK_INPUT(found->second.shape() == slot.m.shape() && found->second.dtype() == DType::f32, source,
                  ": ", name, " is ", found->second.dtype(), ' ', found->second.shape(), ", expected f32 ",
                  slot.m.shape());
      loaded.push_back(found->second);
    }
  }
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].m = loaded[2 * i].clone();
    slots_[i].v = loaded[2 * i + 1].clone();
  }
}

double clip_factor(double norm, double limit) { return limit > 0 && norm > limit ? limit / norm : 1.0; }

double warmup_cosine(int64_t step, int64_t total, int64_t warmup, double peak, double floor) {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (total <= warmup) return peak;
  const double progress =
      std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
  return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + std::cos(3.14159265358979323846 * progress)));
}

}  // namespace clipcap::nn
