// Module: something with parameters. One function, visit(), drives naming, counting, dtype, saving, loading,
// optimizer order and freezing; the order is the order written. Modules are ordinary members of each other. A
// parameter that several modules hold (a tied one) counts once, under its first name.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/run.h"
#include "tensor/io/mapped_file.h"

namespace clipcap::nn {

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
  /// True once pack() has dropped the originals.
  [[nodiscard]] virtual bool packed() const { return false; }
};

struct NamedModule {
  std::string name;
  Module* module;
};
/// All modules below `root` in visiting order, by their dotted paths.
[[nodiscard]] std::vector<NamedModule> modules(Module& root);
/// The module at a dotted path from `root` ("" is root itself). Throws Error when there is none.
[[nodiscard]] Module& find_module(Module& root, std::string_view path);

struct NamedParameter {
  std::string name;
  Variable variable;
};
/// All parameters in visiting order, each once.
[[nodiscard]] std::vector<NamedParameter> parameters(Module& module, std::string_view prefix = {});
[[nodiscard]] int64_t parameter_count(Module& module);
/// Converts every parameter, in place (f64 for gradient checks); gradients of the old dtype are dropped.
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
/// All parameters by name; those below the child `except` (a dotted path) are left out. A packed module no
/// longer has its weights: Error.
[[nodiscard]] StateDict state_dict(Module& module, std::string_view except = {});

struct LoadStateOptions {
  bool share = false;  // use values of the right dtype in place (a mapped file) instead of copying them
  std::string_view except = {};  // dotted path of a child that keeps its parameters
};
/// Copies values by name, converting dtypes; every missing, surplus or misshapen key is listed in one
/// InputError that begins with `source` (a file name). Throws Error for a packed module.
void load_state_dict(Module& module, const StateDict& state, const std::string& source,
                     const LoadStateOptions& options = {});

}  // namespace clipcap::nn
