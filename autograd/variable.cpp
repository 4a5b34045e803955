#include "autograd/variable.h"

#include <atomic>
#include <utility>

#include "autograd/attribution.h"

namespace clipcap {
namespace {

std::atomic<uint64_t> next_node_id{1};
thread_local bool grad_disabled = false;
thread_local Attribution attribution;

bool alike(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.device() == b.device();
}

}  // namespace

Attribution current_attribution() { return attribution; }
void set_attribution(Attribution now) { attribution = now; }
AttributionScope::AttributionScope(Attribution now) : before_(std::exchange(attribution, now)) {}
AttributionScope::~AttributionScope() { attribution = before_; }

Node::Node(const char* op_name) : name(op_name), id(next_node_id++), module(attribution.module) {}

Node::~Node() {
  // The first node to die takes the references that it holds, and before dropping a last one those that it
  // leads to, so that a node never dies with inputs of its own.
  std::vector<std::shared_ptr<Node>> references;
  const auto take_inputs = [&references](Node& node) {
    for (Edge& edge : node.inputs) {
      if (edge.node) references.push_back(std::move(edge.node));
    }
    node.inputs.clear();
  };
  take_inputs(*this);
  while (!references.empty()) {
    const std::shared_ptr<Node> node = std::move(references.back());
    references.pop_back();
    if (node.use_count() == 1) take_inputs(*node);
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
  CHECK(value.defined(), "Variable::set_value: undefined tensor");
  CHECK(!state_->grad_buffer.defined() || alike(state_->grad_buffer, value),
        "Variable::set_value: ", value.dtype(), ' ', value.shape(), ", but the gradient's buffer is ",
        state_->grad_buffer.dtype(), ' ', state_->grad_buffer.shape());
  if (state_->grad.defined() && !alike(state_->grad, value)) state_->grad = Tensor();
  state_->value = std::move(value);
}

void Variable::zero_grad() const {
  CHECK(defined(), "Variable: undefined");
  state_->grad = Tensor();
}

void Variable::set_grad_buffer(Tensor buffer) const {
  CHECK(defined() && is_leaf(), "Variable::set_grad_buffer: only on a leaf");
  Tensor& grad = state_->grad;
  if (buffer.defined()) {
    CHECK(alike(buffer, value()) && buffer.is_contiguous(), "Variable::set_grad_buffer: buffer is ",
          buffer.dtype(), ' ', buffer.shape(), " on ", buffer.device(), "; expected ", dtype(), ' ', shape(),
          " on ", value().device(), ", contiguous");
    if (grad.defined()) {
      buffer.copy_from(grad);
      grad = buffer;
    }
  } else if (grad.defined() && state_->grad_buffer.defined()) {
    grad = grad.clone();
  }
  state_->grad_buffer = std::move(buffer);
}

void Variable::set_requires_grad(bool requires_grad) const {
  CHECK(defined() && is_leaf(), "Variable::set_requires_grad: only on a leaf");
  CHECK(!requires_grad || is_floating(dtype()), "Variable: a ", dtype(), " tensor has no gradient");
  state_->requires_grad = requires_grad;
}

NoGrad::NoGrad() : before_(grad_disabled) { grad_disabled = true; }
NoGrad::~NoGrad() { grad_disabled = before_; }
bool NoGrad::active() { return grad_disabled; }

bool wants_grad(const Variable& input) { return !grad_disabled && input.requires_grad(); }

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
  results.reserve(values.size());
  for (Tensor& value : values) results.emplace_back(std::move(value));
  if (!wanted || grad_disabled) return results;
  auto node = std::make_shared<Node>(op);
  node->backward = std::move(backward);
  node->inputs.reserve(inputs.size());
  for (const Variable& input : inputs) {
    Edge edge;
    if (input.defined()) {
      edge.node = input.state()->node;
      edge.output = input.state()->output;
      if (!edge.node && input.state()->requires_grad) edge.leaf = input.state();
    }
    node->inputs.push_back(std::move(edge));
  }
  node->outputs.reserve(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const Tensor& value = results[i].value();
    node->outputs.push_back({value.shape(), value.dtype(), value.device()});
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
