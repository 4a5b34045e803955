// Reverse-mode differentiation without recursion: the pending node with the largest creation id is always
// next. Inputs are created before outputs, so that order is a reverse topological one; branches that lead
// nowhere are never entered, and sums are formed in a fixed order. The same order tells when a leaf's
// gradient is complete: as soon as every pending node is older than the oldest one that uses the leaf.
#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "autograd/attribution.h"
#include "autograd/variable.h"
#include "tensor/ops.h"

namespace clipcap {
namespace {

// Nobody else sees the tensor's memory.
bool uniquely_owned(const Tensor& x) { return x.storage().use_count() == 1 && x.is_contiguous(); }

// Adds into a node's pending gradient. In place only in memory of its own: a + b hands one tensor to both of
// its inputs.
void accumulate(Tensor& total, Tensor grad) {
  if (!total.defined()) {
    total = std::move(grad);
  } else if (uniquely_owned(total)) {
    ops::add_in_place(total, grad);
  } else {
    total = ops::add(total, grad);
  }
}

// Adds into the leaf's own buffer, which becomes the leaf's on the first arrival.
void accumulate(VariableState& leaf, Tensor grad) {
  if (leaf.grad.defined()) {
    ops::add_in_place(leaf.grad, grad);
  } else if (leaf.grad_buffer.defined()) {
    leaf.grad_buffer.copy_from(grad);
    leaf.grad = leaf.grad_buffer;
  } else if (uniquely_owned(grad) && static_cast<int64_t>(grad.storage()->bytes()) == grad.bytes()) {
    leaf.grad = std::move(grad);
  } else {
    leaf.grad = grad.clone();
  }
}

void check_gradient(const Node& node, size_t input, const Tensor& grad, const Shape& shape, DType dtype,
                    Device device) {
  CHECK(grad.shape() == shape && grad.dtype() == dtype && grad.device() == device, "backward: ", node.name,
        " gave its input ", input, " a gradient ", grad.dtype(), ' ', grad.shape(), " on ", grad.device(),
        "; expected ", dtype, ' ', shape, " on ", device);
}

// A leaf and the oldest of the nodes behind the root that use it.
struct LeafUse {
  std::shared_ptr<VariableState> leaf;
  uint64_t oldest;
  size_t input;
};

// In the order in which they become complete.
std::vector<LeafUse> leaves_behind(Node* root) {
  std::unordered_map<VariableState*, LeafUse> uses;
  std::unordered_set<Node*> seen{root};
  std::vector<Node*> open{root};
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      const Edge& edge = node->inputs[i];
      if (edge.node && seen.insert(edge.node.get()).second) open.push_back(edge.node.get());
      if (!edge.leaf) continue;
      LeafUse& use = uses.try_emplace(edge.leaf.get(), LeafUse{edge.leaf, node->id, i}).first->second;
      if (node->id < use.oldest) use = {edge.leaf, node->id, i};
    }
  }
  std::vector<LeafUse> result;
  result.reserve(uses.size());
  for (auto& [key, use] : uses) result.push_back(std::move(use));
  std::sort(result.begin(), result.end(), [](const LeafUse& a, const LeafUse& b) {
    return a.oldest != b.oldest ? a.oldest > b.oldest : a.input < b.input;
  });
  return result;
}

struct Later {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->id < b->id;
  }
};

}  // namespace

void Variable::backward(const BackwardOptions& options) const {
  CHECK(value().numel() == 1, "backward: ", shape(), " is not a scalar; pass the gradient of this variable");
  const Tensor one = Tensor::full(shape(), 1.0, dtype());
  backward(one.to(value().device()), options);
}

void Variable::backward(const Tensor& output_grad, const BackwardOptions& options) const {
  CHECK(requires_grad(), "backward: nothing behind this variable requires a gradient");
  CHECK(output_grad.defined() && output_grad.shape() == shape() && output_grad.dtype() == dtype() &&
            output_grad.device() == value().device(),
        "backward: the gradient is ", output_grad.dtype(), ' ', output_grad.shape(), " on ",
        output_grad.device(), ", the variable ", dtype(), ' ', shape(), " on ", value().device());
  const NoGrad guard;
  if (is_leaf()) {
    accumulate(*state_, output_grad);
    if (options.leaf_ready) options.leaf_ready(*this);
    return;
  }
  std::unordered_map<Node*, std::vector<Tensor>> pending;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Later> ready;
  const auto deliver = [&](const std::shared_ptr<Node>& node, int output, Tensor grad) {
    auto [slot, fresh] = pending.try_emplace(node.get());
    if (fresh) {
      slot->second.resize(node->outputs.size());
      ready.push(node);
    }
    accumulate(slot->second[static_cast<size_t>(output)], std::move(grad));
  };
  std::vector<LeafUse> leaves;
  if (options.leaf_ready) leaves = leaves_behind(state_->node.get());
  auto next_leaf = leaves.begin();
  deliver(state_->node, state_->output, output_grad);
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    auto found = pending.find(node.get());
    std::vector<Tensor> grads = std::move(found->second);
    pending.erase(found);
    CHECK(node->backward, "backward: the graph behind ", node->name,
          " was released by an earlier backward(); that one needs keep_graph");
    const AttributionScope booked({node->module, true});
    std::vector<Tensor> input_grads = node->backward(BackwardArgs(grads, node->inputs, !options.keep_graph));
    CHECK(input_grads.size() == node->inputs.size(), node->name, ": backward gave ", input_grads.size(),
          " gradients for ", node->inputs.size(), " inputs");
    // What was saved, and the outputs' gradients, are let go first: what passed through unchanged is then the
    // receiver's alone.
    if (!options.keep_graph) node->backward = nullptr;
    grads.clear();
    for (size_t i = 0; i < input_grads.size(); ++i) {
      const Edge& edge = node->inputs[i];
      if (!input_grads[i].defined() || !edge.wanted()) continue;
      if (edge.node) {
        const Node::Output& to = edge.node->outputs[static_cast<size_t>(edge.output)];
        check_gradient(*node, i, input_grads[i], to.shape, to.dtype, to.device);
        deliver(edge.node, edge.output, std::move(input_grads[i]));
      } else {
        const Tensor& to = edge.leaf->value;
        check_gradient(*node, i, input_grads[i], to.shape(), to.dtype(), to.device());
        accumulate(*edge.leaf, std::move(input_grads[i]));
      }
    }
    const uint64_t next = ready.empty() ? 0 : ready.top()->id;
    for (; next_leaf != leaves.end() && next_leaf->oldest > next; ++next_leaf) {
      options.leaf_ready(Variable(next_leaf->leaf));
    }
  }
}

}  // namespace clipcap
