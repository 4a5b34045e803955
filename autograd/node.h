// One recorded operation: where its gradients go, and how they are computed.
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

/// What a backward function is told.
class BackwardArgs {
 public:
  BackwardArgs(std::span<const Tensor> output_grads, std::span<const Edge> inputs, bool last)
      : output_grads_(output_grads), inputs_(inputs), last_(last) {}
  /// Gradient of output i; undefined when none arrived (one of them always has).
  const Tensor& operator[](size_t i) const { return output_grads_[i]; }
  /// Whether the gradient of input i goes anywhere; if not, it is not to be computed.
  [[nodiscard]] bool wants(size_t i) const { return inputs_[i].wanted(); }
  /// The graph is released on the way: what this operation alone has saved may be overwritten.
  [[nodiscard]] bool last() const { return last_; }

 private:
  std::span<const Tensor> output_grads_;
  std::span<const Edge> inputs_;
  bool last_;
};

/// Returns one gradient for each input, of the input's shape and dtype; undefined = none. Closures capture
/// Tensors, never Variables, so that no cycle can form; and only those that the wanted gradients need, for
/// the capture list is what stays in memory until backward().
using BackwardFunction = std::function<std::vector<Tensor>(const BackwardArgs& grads)>;

struct Node {
  /// What a gradient of an output has to look like.
  struct Output {
    Shape shape;
    DType dtype;
    Device device;
  };

  const char* name;
  uint64_t id;  // creation order: inputs always have smaller ids than the nodes that use them
  std::vector<Output> outputs;
  std::vector<Edge> inputs;
  BackwardFunction backward;  // null once backward() has released the graph
  const void* module;         // whose forward recorded it (autograd/attribution.h)

  explicit Node(const char* op_name);
  /// Releases the graph behind it in a loop: a chain of a million nodes must not recurse.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

}  // namespace clipcap
