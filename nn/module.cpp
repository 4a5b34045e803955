#include "nn/module.h"

#include <unordered_set>

#include "tensor/problem_list.h"

namespace clipcap::nn {
namespace {

std::string joined(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}

bool is_below(const std::string& name, std::string_view path) {
  return !path.empty() && name.starts_with(path) && (name.size() == path.size() || name[path.size()] == '.');
}

// Every parameter once, by identity: a tied one under its first name.
class EachParameter : public Visitor {
 public:
  explicit EachParameter(std::function<void(const std::string&, Variable&)> action)
      : action_(std::move(action)) {}

 private:
  void on_parameter(const std::string& name, Variable& parameter) override {
    if (seen_.insert(parameter.state().get()).second) action_(name, parameter);
  }
  std::function<void(const std::string&, Variable&)> action_;
  std::unordered_set<const VariableState*> seen_;
};

class EachModule : public Visitor {
 public:
  explicit EachModule(std::function<void(const std::string&, Module&)> action) : action_(std::move(action)) {}

 private:
  void on_parameter(const std::string&, Variable&) override {}
  void on_module(const std::string& name, Module& module) override { action_(name, module); }
  std::function<void(const std::string&, Module&)> action_;
};

void each_parameter(Module& module, std::function<void(const std::string&, Variable&)> action) {
  EachParameter visitor(std::move(action));
  module.visit(visitor);
}

// A packed layer has dropped the weights that its name stands for.
void check_unpacked(const char* what, Module& module, std::string_view except) {
  const auto check = [&](const std::string& name, const Module& checked) {
    CHECK(is_below(name, except) || !checked.packed(), what, ": ", name.empty() ? "the module" : name, " (",
          checked.describe(),
          ") is packed for inference and has dropped its weights; load the model unpacked");
  };
  check("", module);
  for (const NamedModule& child : modules(module)) check(child.name, *child.module);
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

std::vector<NamedModule> modules(Module& root) {
  std::vector<NamedModule> result;
  EachModule visitor([&](const std::string& name, Module& module) { result.push_back({name, &module}); });
  root.visit(visitor);
  return result;
}

Module& find_module(Module& root, std::string_view path) {
  if (path.empty()) return root;
  for (const NamedModule& module : modules(root)) {
    if (module.name == path) return *module.module;
  }
  fail("find_module: there is no module \"", path, "\"");
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
  EachModule packer([&](const std::string&, Module& layer) {
    if (layer.pack() && after_each) after_each();
  });
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

StateDict state_dict(Module& module, std::string_view except) {
  check_unpacked("state_dict", module, except);
  StateDict state;
  each_parameter(module, [&](const std::string& name, Variable& parameter) {
    if (!is_below(name, except)) state[name] = parameter.value();
  });
  return state;
}

void load_state_dict(Module& module, const StateDict& state, const std::string& source,
                     const LoadStateOptions& options) {
  check_unpacked("load_state_dict", module, options.except);
  ProblemList problems;
  size_t used = 0;
  std::map<std::string, Variable> wanted;
  each_parameter(module, [&](const std::string& name, Variable& parameter) {
    if (!is_below(name, options.except)) wanted.emplace(name, parameter);
  });
  for (const auto& [name, parameter] : wanted) {
    const auto found = state.find(name);
    if (found == state.end()) {
      problems.add("missing ", name, ' ', parameter.shape());
      continue;
    }
    ++used;
    if (found->second.shape() != parameter.shape()) {
      problems.add("shape of ", name, " is ", found->second.shape(), ", expected ", parameter.shape());
    }
  }
  if (used < state.size()) {
    for (const auto& [name, tensor] : state) {
      if (!wanted.contains(name)) problems.add("surplus ", name, ' ', tensor.shape());
    }
  }
  CHECK_INPUT(problems.empty(), source, ": ", problems.text());
  for (const auto& [name, parameter] : wanted) {
    const Tensor& value = state.at(name);
    const Tensor& own = parameter.value();
    // It is there already. All tensors of one file share a storage, so that alone says nothing.
    if (value.raw() == own.raw() && value.dtype() == own.dtype() && value.strides() == own.strides())
      continue;
    const bool same = value.dtype() == parameter.dtype();
    parameter.set_value(same && options.share ? value.contiguous()
                        : same                ? value.clone()
                                              : value.to(parameter.dtype()));
  }
}

}  // namespace clipcap::nn
