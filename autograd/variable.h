// Variable: a Tensor and how it was made. A handle: copies share value and gradient, so the optimizer's copy
// and the module's member are the same parameter. Plain Tensors carry no history, so forgetting a gradient
// does not compile.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "autograd/node.h"

namespace clipcap {

class Variable;

struct VariableState {
  Tensor value;
  Tensor grad;         // of a leaf: the sum of what has arrived; undefined before
  Tensor grad_buffer;  // where grad has to live; undefined: in memory of its own
  bool requires_grad = false;
  std::shared_ptr<Node> node;  // the operation that made it; null for a leaf
  int output = 0;              // which of the node's outputs it is
};

struct BackwardOptions {
  bool keep_graph = false;  // for another backward(); otherwise saved tensors are freed on the way
  /// Called for every leaf behind the variable exactly once, as soon as nothing can arrive any more: its
  /// gradient may be sent to other ranks while backward() goes on. grad() is undefined where nothing
  /// arrived at all.
  std::function<void(const Variable& leaf)> leaf_ready = {};
};

class Variable {
 public:
  /// Undefined.
  Variable() = default;
  /// A leaf: a constant, or a parameter when `requires_grad`.
  explicit Variable(Tensor value, bool requires_grad = false);
  explicit Variable(std::shared_ptr<VariableState> state) : state_(std::move(state)) {}

  [[nodiscard]] bool defined() const { return state_ != nullptr; }
  [[nodiscard]] const Tensor& value() const;
  [[nodiscard]] const Shape& shape() const { return value().shape(); }
  [[nodiscard]] int64_t dim(int i) const { return value().dim(i); }
  [[nodiscard]] DType dtype() const { return value().dtype(); }
  /// Gradient accumulated by backward(); undefined before. The leaf's own buffer, contiguous and shared with
  /// no other tensor: the next backward() adds into it in place, so clone() what has to stay.
  [[nodiscard]] const Tensor& grad() const;
  [[nodiscard]] bool requires_grad() const { return state_ && (state_->requires_grad || state_->node); }
  [[nodiscard]] bool is_leaf() const { return state_ && !state_->node; }

  /// Gradients of this one-element variable with respect to every leaf behind it are added to their grad().
  void backward(const BackwardOptions& options = {}) const;
  /// The same from a gradient of this variable's shape and dtype.
  void backward(const Tensor& output_grad, const BackwardOptions& options = {}) const;
  /// The same numbers without history.
  [[nodiscard]] Variable detach() const { return Variable(value()); }

  // For optimizers, loading and freezing only; a value changed under a recorded graph gives wrong gradients.
  /// A gradient of another dtype, shape or device than the new value is dropped.
  void set_value(Tensor value) const;
  /// Forgets the gradient (the next one overwrites the buffer).
  void zero_grad() const;
  /// From now on the gradient lives in `buffer` (contiguous, of the value's shape and dtype): a part of a
  /// larger tensor, say. What has been accumulated moves there. Undefined: back to memory of its own.
  void set_grad_buffer(Tensor buffer) const;
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

/// True when a gradient of `input` will be asked of an operation recorded now.
[[nodiscard]] bool wants_grad(const Variable& input);
/// What an operation recorded now has to keep for the gradient of `input`: `value`, or nothing.
[[nodiscard]] inline Tensor saved_for(const Variable& input, const Tensor& value) {
  return wants_grad(input) ? value : Tensor();
}
/// True when an operation on these inputs has to be recorded.
[[nodiscard]] bool any_requires_grad(std::initializer_list<const Variable*> inputs);

/// The result of an operation: records `backward` when gradients are on and an input wants one.
[[nodiscard]] Variable make_result(const char* op, Tensor value, std::vector<Variable> inputs,
                                   BackwardFunction backward);
/// The same for operations with several outputs (an LSTM's h and c).
[[nodiscard]] std::vector<Variable> make_results(const char* op, std::vector<Tensor> values,
                                                 std::vector<Variable> inputs, BackwardFunction backward);

}  // namespace clipcap
