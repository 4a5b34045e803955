// One recorded operation: where its gradient goes, and how it is computed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace clipcap {

struct Node;
struct VariableState;

/// Where the gradient of one input goes: to another node's output, or to a leaf. Both null: nowhere.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
  std::shared_ptr<VariableState> leaf;
  [[nodiscard]] bool wanted() const { return node != nullptr || leaf != nullptr; }
};

/// Gradients of the outputs in (undefined = none arrived), gradients of the inputs out (undefined = none).
/// Closures capture Tensors, never Variables: the capture list is what is saved for backward, and no cycle
/// can form.
using BackwardFunction = std::function<std::vector<Tensor>(std::span<const Tensor> output_grads)>;

struct Node {
  const char* name;
  uint64_t id;  // creation order: inputs always have smaller ids than the nodes that use them
  int outputs;
  std::vector<Edge> inputs;
  BackwardFunction backward;

  Node(const char* op_name, int output_count);
  /// Releases the graph behind it in a loop: a chain of a million nodes must not recurse.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

}  // namespace clipcap
