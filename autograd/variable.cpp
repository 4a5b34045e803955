#include "autograd/variable.h"

#include <atomic>
#include <utility>

namespace clipcap {
namespace {
std::atomic<uint64_t> next_node_id{1};
thread_local bool grad_disabled = false;
}  // namespace

Node::Node(const char* op_name, int output_count)
    : name(op_name), id(next_node_id++), outputs(output_count) {}

Node::~Node() {
  // The first node to die collects what it alone kept alive; nodes dying inside the loop find their inputs
  // gone.
  std::vector<std::shared_ptr<Node>> doomed;
  const auto collect = [&doomed](Node& node) {
    for (Edge& edge : node.inputs) {
      if (edge.node && edge.node.use_count() == 1) doomed.push_back(std::move(edge.node));
    }
    node.inputs.clear();
  };
  collect(*this);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    collect(*node);
  }
}

Variable::Variable(Tensor value, bool requires_grad) : state_(std::make_shared<VariableState>()) {
  CHECK(value.defined(), "Variable: undefined tensor");
  CHECK(!requires_grad || is_floating(value.dtype()), "Variable: a ", value.dtype(),
        " tensor has no gradient");
  state_->value = std::move(value);
  state_->requires_grad = requires_grad;
}

const Tensor& Variable::value() const {
  CHECK(defined(), "Variable: undefined");
  return state_->value;
}

const Tensor& Variable::grad() const {
  CHECK(defined(), "Variable: undefined");
  return state_->grad;
}

void Variable::set_value(Tensor value) const {
  CHECK(defined() && is_leaf(), "Variable::set_value: only on a leaf");
  state_->value = std::move(value);
}
void Variable::set_grad(Tensor grad) const {
  CHECK(defined(), "Variable: undefined");
  state_->grad = std::move(grad);
}
void Variable::set_requires_grad(bool requires_grad) const {
  CHECK(defined() && is_leaf(), "Variable::set_requires_grad: only on a leaf");
  state_->requires_grad = requires_grad;
}

NoGrad::NoGrad() : before_(grad_disabled) { grad_disabled = true; }
NoGrad::~NoGrad() { grad_disabled = before_; }
bool NoGrad::active() { return grad_disabled; }

bool any_requires_grad(std::initializer_list<const Variable*> inputs) {
  if (grad_disabled) return false;
  for (const Variable* input : inputs) {
    if (input->requires_grad()) return true;
  }
  return false;
}

std::vector<Variable> make_results(const char* op, std::vector<Tensor> values, std::vector<Variable> inputs,
                                   BackwardFunction backward) {
  bool wanted = false;
  for (const Variable& input : inputs) wanted = wanted || input.requires_grad();
  std::vector<Variable> results;
  for (Tensor& value : values) results.emplace_back(std::move(value));
  if (!wanted || grad_disabled) return results;
  auto node = std::make_shared<Node>(op, static_cast<int>(results.size()));
  node->backward = std::move(backward);
  for (const Variable& input : inputs) {
    Edge edge;
    if (input.defined()) {
      edge.node = input.state()->node;
      edge.output = input.state()->output;
      if (!edge.node && input.state()->requires_grad) edge.leaf = input.state();
    }
    node->inputs.push_back(std::move(edge));
  }
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].state()->node = node;
    results[i].state()->output = static_cast<int>(i);
  }
  return results;
}

Variable make_result(const char* op, Tensor value, std::vector<Variable> inputs, BackwardFunction backward) {
  std::vector<Tensor> values;
  values.push_back(std::move(value));
  return make_results(op, std::move(values), std::move(inputs), std::move(backward))[0];
}

}  // namespace clipcap
