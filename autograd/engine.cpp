// Reverse-mode differentiation without recursion: the pending node with the largest creation id is always
// next. Inputs are created before outputs, so that order is a reverse topological one; branches that lead
// nowhere are never entered, and sums are formed in a fixed order.
#include <queue>
#include <unordered_map>
#include <utility>

#include "autograd/variable.h"
#include "tensor/ops.h"

namespace clipcap {
namespace {

// Adds into the buffer only when nobody else can see it: a + b hands one tensor to both inputs.
void accumulate(Tensor& total, Tensor grad) {
  if (!total.defined()) {
    total = std::move(grad);
    return;
  }
  if (total.storage().use_count() == 1 && total.is_contiguous()) {
    ops::add_in_place(total, grad);
  } else {
    total = ops::add(total, grad);
  }
}

struct Later {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->id < b->id;
  }
};

}  // namespace

void Variable::backward(bool keep_graph) const {
  CHECK(value().numel() == 1, "backward: ", shape(), " is not a scalar; pass the gradient of this variable");
  Tensor one = Tensor::full(shape(), 1.0, dtype());
  backward(one.to(value().device()), keep_graph);
}

void Variable::backward(const Tensor& output_grad, bool keep_graph) const {
  CHECK(requires_grad(), "backward: nothing behind this variable requires a gradient");
  CHECK(output_grad.shape() == shape(), "backward: gradient is ", output_grad.shape(), ", variable ",
        shape());
  const NoGrad guard;
  if (is_leaf()) {
    accumulate(state_->grad, output_grad.clone());
    return;
  }
  std::unordered_map<Node*, std::vector<Tensor>> pending;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Later> ready;
  const auto deliver = [&](const std::shared_ptr<Node>& node, int output, Tensor grad) {
    auto [slot, fresh] = pending.try_emplace(node.get());
    if (fresh) {
      slot->second.resize(static_cast<size_t>(node->outputs));
      ready.push(node);
    }
    accumulate(slot->second[static_cast<size_t>(output)], std::move(grad));
  };
  deliver(state_->node, state_->output, output_grad);
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    auto found = pending.find(node.get());
    std::vector<Tensor> grads = std::move(found->second);
    pending.erase(found);
    CHECK(node->backward, "backward: the graph behind ", node->name,
          " was released by an earlier backward()");
    std::vector<Tensor> input_grads = node->backward(grads);
    CHECK(input_grads.size() == node->inputs.size(), node->name, ": backward gave ", input_grads.size(),
          " gradients for ", node->inputs.size(), " inputs");
    for (size_t i = 0; i < input_grads.size(); ++i) {
      Edge& edge = node->inputs[i];
      if (!input_grads[i].defined() || !edge.wanted()) continue;
      if (edge.node) {
        deliver(edge.node, edge.output, std::move(input_grads[i]));
      } else {
        accumulate(edge.leaf->grad, std::move(input_grads[i]));
      }
    }
    if (!keep_graph) node->backward = nullptr;
  }
}

}  // namespace clipcap
