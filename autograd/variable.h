// Variable: a Tensor and how it was made. A handle: copies share value and gradient, so the optimizer's copy
// and the module's member are the same parameter. Plain Tensors carry no history, so forgetting a gradient
// does not compile.
#pragma once

#include <memory>
#include <vector>

#include "autograd/node.h"

namespace clipcap {

struct VariableState {
  Tensor value;
  Tensor grad;
  bool requires_grad = false;
  std::shared_ptr<Node> node;  // the operation that made it; null for a leaf
  int output = 0;              // which of the node's outputs it is
};

class Variable {
 public:
  /// Undefined.
  Variable() = default;
  /// A leaf: a constant, or a parameter when `requires_grad`.
  explicit Variable(Tensor value, bool requires_grad = false);

  [[nodiscard]] bool defined() const { return state_ != nullptr; }
  [[nodiscard]] const Tensor& value() const;
  [[nodiscard]] const Shape& shape() const { return value().shape(); }
  [[nodiscard]] int64_t dim(int i) const { return value().dim(i); }
  [[nodiscard]] DType dtype() const { return value().dtype(); }
  /// Gradient accumulated by backward(); undefined before.
  [[nodiscard]] const Tensor& grad() const;
  [[nodiscard]] bool requires_grad() const { return state_ && (state_->requires_grad || state_->node); }
  [[nodiscard]] bool is_leaf() const { return state_ && !state_->node; }

  /// Gradients of this one-element variable with respect to every leaf behind it are added to their grad().
  /// The graph is released on the way unless `keep_graph`.
  void backward(bool keep_graph = false) const;
  /// The same from a gradient of this variable's shape.
  void backward(const Tensor& output_grad, bool keep_graph = false) const;
  /// The same numbers without history.
  [[nodiscard]] Variable detach() const { return Variable(value()); }

  // For optimizers, loading and freezing only; a value changed under a recorded graph gives wrong gradients.
  void set_value(Tensor value) const;
  void set_grad(Tensor grad) const;
  void zero_grad() const { set_grad(Tensor()); }
  void set_requires_grad(bool requires_grad) const;

  [[nodiscard]] const std::shared_ptr<VariableState>& state() const { return state_; }

 private:
  std::shared_ptr<VariableState> state_;
};

/// While alive, operations on this thread record nothing.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;
  [[nodiscard]] static bool active();

 private:
  bool before_;
};

/// True when an operation on these inputs has to be recorded.
[[nodiscard]] bool any_requires_grad(std::initializer_list<const Variable*> inputs);

/// The result of an operation: records `backward` when gradients are on and an input wants one.
[[nodiscard]] Variable make_result(const char* op, Tensor value, std::vector<Variable> inputs,
                                   BackwardFunction backward);
/// The same for operations with several outputs (an LSTM's h and c).
[[nodiscard]] std::vector<Variable> make_results(const char* op, std::vector<Tensor> values,
                                                 std::vector<Variable> inputs, BackwardFunction backward);

}  // namespace clipcap
