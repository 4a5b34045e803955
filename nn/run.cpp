#include "nn/run.h"

#include <utility>
#include <vector>

#include "nn/module.h"

namespace clipcap::nn {

Observer::Observer(Module& root) {
  paths_[&root] = "";
  for (const NamedModule& module : modules(root)) paths_.emplace(module.module, module.name);
}

void Observer::enter(const Module&, const char*, std::span<const Tensor>) {}
void Observer::leave(const Module&, std::span<const Tensor>) {}
bool Observer::wants(std::string_view) const { return false; }
void Observer::note(const Module&, std::string_view, const Tensor&) {}

const std::string& Observer::path(const void* module) const {
  static const std::string elsewhere = "(elsewhere)";
  const auto found = paths_.find(module);
  return found == paths_.end() ? elsewhere : found->second;
}

void Call::enter(const Module& module, const char* function, std::initializer_list<Tensor> inputs) {
  module_ = &module;
  before_ = current_attribution();
  std::vector<Tensor> defined;
  for (const Tensor& input : inputs) {
    if (input.defined()) defined.push_back(input);
  }
  observer_->enter(module, function, defined);
  set_attribution({&module, before_.backward});
}

void Call::leave(std::initializer_list<Tensor> outputs) {
  Observer* const observer = std::exchange(observer_, nullptr);
  set_attribution(before_);
  observer->leave(*module_, {outputs.begin(), outputs.size()});
}

}  // namespace clipcap::nn
