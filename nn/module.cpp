#include "nn/module.h"

namespace clipcap::nn {
namespace {

std::string joined(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}

class EachParameter : public Visitor {
 public:
  explicit EachParameter(std::function<void(const std::string&, Variable&)> action)
      : action_(std::move(action)) {}

 private:
  void on_parameter(const std::string& name, Variable& parameter) override { action_(name, parameter); }
  std::function<void(const std::string&, Variable&)> action_;
};

class Packer : public Visitor {
 public:
  explicit Packer(const std::function<void()>& after_each) : after_each_(after_each) {}

 private:
  void on_parameter(const std::string&, Variable&) override {}
  void on_module(const std::string&, Module& module) override {
    if (module.pack() && after_each_) after_each_();
  }
  const std::function<void()>& after_each_;
};

void each_parameter(Module& module, std::function<void(const std::string&, Variable&)> action) {
  EachParameter visitor(std::move(action));
  module.visit(visitor);
}

}  // namespace

void Visitor::operator()(std::string_view name, Variable& parameter) {
  if (parameter.defined()) on_parameter(joined(prefix_, name), parameter);
}

void Visitor::operator()(std::string_view name, Module& module) {
  const std::string before = prefix_;
  prefix_ = joined(prefix_, name);
  on_module(prefix_, module);
  module.visit(*this);
  prefix_ = before;
}

std::vector<NamedParameter> parameters(Module& module, std::string_view prefix) {
  std::vector<NamedParameter> result;
  each_parameter(module, [&](const std::string& name, Variable& parameter) {
    result.push_back({joined(std::string(prefix), name), parameter});
  });
  return result;
}

int64_t parameter_count(Module& module) {
  int64_t count = 0;
  each_parameter(module,
                 [&](const std::string&, Variable& parameter) { count += parameter.value().numel(); });
  return count;
}

void convert(Module& module, DType dtype) {
  each_parameter(module, [&](const std::string&, Variable& parameter) {
    parameter.set_value(parameter.value().to(dtype));
  });
}

void set_requires_grad(Module& module, bool requires_grad) {
  each_parameter(
      module, [&](const std::string&, Variable& parameter) { parameter.set_requires_grad(requires_grad); });
}

void pack_for_inference(Module& module, const std::function<void()>& after_each) {
  Packer packer(after_each);
  packer("", module);
  release_cached_host_memory();
}

void pack_for_inference(Module& module, const MappedFile& source) {
  pack_for_inference(module, [&source] { source.forget_pages(); });
  each_parameter(module, [](const std::string&, Variable& parameter) {
    parameter.set_value(parameter.value().clone());
  });
  source.forget_pages();
}

StateDict state_dict(Module& module) {
  StateDict state;
  each_parameter(module,
                 [&](const std::string& name, Variable& parameter) { state[name] = parameter.value(); });
  return state;
}

void load_state_dict(Module& module, const StateDict& state, const std::string& source, bool share) {
  std::string problems;
  size_t used = 0;
  std::map<std::string, Variable> wanted;
  each_parameter(module,
                 [&](const std::string& name, Variable& parameter) { wanted.emplace(name, parameter); });
  const auto complain = [&](const auto&... parts) {
    problems += concat_text(problems.empty() ? "" : "; ", parts...);
  };
  for (const auto& [name, parameter] : wanted) {
    const auto found = state.find(name);
    if (found == state.end()) {
      complain("missing ", name, ' ', parameter.shape());
      continue;
    }
    ++used;
    if (found->second.shape() != parameter.shape()) {
      complain("shape of ", name, " is ", found->second.shape(), ", expected ", parameter.shape());
    }
  }
  if (used < state.size()) {
    for (const auto& [name, tensor] : state) {
      if (!wanted.contains(name)) complain("surplus ", name, ' ', tensor.shape());
    }
  }
  CHECK_INPUT(problems.empty(), source, ": ", problems);
  for (const auto& [name, parameter] : wanted) {
    const Tensor& value = state.at(name);
    if (value.storage() == parameter.value().storage()) continue;  // it is there already
    const bool same = value.dtype() == parameter.dtype();
    parameter.set_value(same && share ? value.contiguous()
                        : same        ? value.clone()
                                      : value.to(parameter.dtype()));
  }
}

}  // namespace clipcap::nn
