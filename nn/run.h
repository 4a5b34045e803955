// Run: what a forward pass needs besides its input. Call: one call of a module, seen by the run's observer.
// Every forward() begins with one, and does all its arithmetic inside:
//
//   Variable Mlp::forward(const Variable& x, const Run& run) const {
//     Call call(run, *this, "forward", x);
//     return call.returns(down.forward(up.forward(x, run), run));
//   }
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "autograd/attribution.h"
#include "autograd/ops.h"
#include "tensor/random.h"

namespace clipcap::nn {

class Module;

/// Watches a model at work: a profiler, an explanation. Calls nest; everything happens on the thread that
/// computes. Inside a call current_attribution() names its module, in backward() too.
class Observer {
 public:
  /// Modules are named by their dotted path from `root` (itself: ""), which must stay where it is in memory.
  explicit Observer(Module& root);
  virtual ~Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  /// A call of `module` begins: "forward", or another of its functions that compute ("step", "project").
  virtual void enter(const Module& module, const char* function, std::span<const Tensor> inputs);
  /// It ends; without outputs when it threw.
  virtual void leave(const Module& module, std::span<const Tensor> outputs);
  /// Whether note() is to be called with values of this name, which are only worked out then. Names:
  /// "probabilities", an attention's weights [B,H,Tq,Tk].
  [[nodiscard]] virtual bool wants(std::string_view name) const;
  /// A value from within a call of `module`.
  virtual void note(const Module& module, std::string_view name, const Tensor& value);

  /// Dotted path of a module (or of Attribution::module) below the root; "(elsewhere)" for any other.
  [[nodiscard]] const std::string& path(const void* module) const;
  [[nodiscard]] const std::string& path(const Module& module) const {
    return path(static_cast<const void*>(&module));
  }

 private:
  std::unordered_map<const void*, std::string> paths_;
};

/// Passed down through every forward(). Dropout happens only when training.
struct Run {
  bool training = false;
  Generator* generator = nullptr;
  Observer* observer = nullptr;
  [[nodiscard]] Variable dropout(const Variable& x, double probability) const {
    if (!training || probability == 0.0) return x;
    CHECK(generator != nullptr, "Run: training without a random generator");
    return diff::dropout(x, probability, *generator);
  }
};

/// One call of a module. Without an observer it does nothing.
class Call {
 public:
  /// `inputs`: Variables and Tensors; undefined ones are left out.
  template <class... Inputs>
  Call(const Run& run, const Module& module, const char* function, const Inputs&... inputs)
      : observer_(run.observer) {
    if (observer_ != nullptr) [[unlikely]]
      enter(module, function, {tensor(inputs)...});
  }
  ~Call() {
    if (observer_ != nullptr) [[unlikely]]
      leave({});
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// Ends the call and hands on its result.
  Variable returns(Variable result) {
    if (observer_ != nullptr) [[unlikely]]
      leave({result.value()});
    return result;
  }
  Tensor returns(Tensor result) {
    if (observer_ != nullptr) [[unlikely]]
      leave({result});
    return result;
  }
  /// Hands `value()` to the observer if it wants values of this name.
  template <class Value>
  void note(std::string_view name, Value&& value) const {
    if (observer_ != nullptr && observer_->wants(name)) [[unlikely]]
      observer_->note(*module_, name, value());
  }

 private:
  static const Tensor& tensor(const Tensor& x) { return x; }
  static Tensor tensor(const Variable& x) { return x.defined() ? x.value() : Tensor(); }
  void enter(const Module& module, const char* function, std::initializer_list<Tensor> inputs);
  void leave(std::initializer_list<Tensor> outputs);

  Observer* observer_;  // null once the call has ended
  const Module* module_ = nullptr;
  Attribution before_;
};

}  // namespace clipcap::nn
