// Module: something with parameters. One function, visit(), drives naming, counting, dtype, saving, loading,
// optimizer order and freezing; the order is the order written. Modules are ordinary members of each other.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/ops.h"
#include "tensor/io/mapped_file.h"
#include "tensor/random.h"

namespace clipcap::nn {

class Module;

/// Walks a module tree; names are joined with dots ("decoder.layers.0.ffn.up.weight").
class Visitor {
 public:
  virtual ~Visitor() = default;
  void operator()(std::string_view name, Variable& parameter);
  void operator()(std::string_view name, Module& module);
  template <class M>
  void operator()(std::string_view name, std::unique_ptr<M>& module) {
    if (module) (*this)(name, *module);
  }
  template <class M>
  void operator()(std::string_view name, std::vector<M>& modules) {
    for (size_t i = 0; i < modules.size(); ++i)
      (*this)(std::string(name) + "." + std::to_string(i), modules[i]);
  }

 protected:
  virtual void on_parameter(const std::string& name, Variable& parameter) = 0;
  virtual void on_module(const std::string&, Module&) {}

 private:
  std::string prefix_;
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  Module(const Module&) = delete;  // parameters are handles: a copy would share them
  Module& operator=(const Module&) = delete;

  virtual void visit(Visitor& visitor) = 0;
  /// One word for inspect: "Linear 768 -> 3072, quick_gelu".
  [[nodiscard]] virtual std::string describe() const { return {}; }
  /// Reorders this module's own weights (not its children's) for the library that multiplies by them and
  /// drops the originals. False when there is nothing to pack. See pack_for_inference.
  virtual bool pack() { return false; }
};

struct NamedParameter {
  std::string name;
  Variable variable;
};

/// All parameters in visiting order.
[[nodiscard]] std::vector<NamedParameter> parameters(Module& module, std::string_view prefix = {});
[[nodiscard]] int64_t parameter_count(Module& module);
/// Converts every parameter, in place (f64 for gradient checks).
void convert(Module& module, DType dtype);
void set_requires_grad(Module& module, bool requires_grad);
/// Packs the weight of every Linear and Conv2d below for inference and drops the originals; forward then
/// works only under NoGrad. `after_each` runs after every such layer: where the originals are a mapped file,
/// its pages can go one layer at a time.
void pack_for_inference(Module& module, const std::function<void()>& after_each = {});
/// The same for weights that are views into `source`, whose pages go one layer at a time. What is not packed
/// (tables, norms) is copied, so that nothing refers to the file any more.
void pack_for_inference(Module& module, const MappedFile& source);

using StateDict = std::map<std::string, Tensor>;
[[nodiscard]] StateDict state_dict(Module& module);
/// Copies values by name, converting dtypes; every missing, surplus or misshapen key is listed in one
/// InputError that begins with `source` (a file name). With `share`, f32 values are used in place (a mapped
/// file) instead of copied.
void load_state_dict(Module& module, const StateDict& state, const std::string& source, bool share = false);

/// What a forward pass needs besides its input: dropout happens only when training.
struct Run {
  bool training = false;
  Generator* generator = nullptr;
  [[nodiscard]] Variable dropout(const Variable& x, double probability) const {
    if (!training || probability == 0.0) return x;
    CHECK(generator != nullptr, "Run: training without a random generator");
    return diff::dropout(x, probability, *generator);
  }
};

}  // namespace clipcap::nn
