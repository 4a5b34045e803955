// Stored references: tensors under "part.name" in tests/golden/*.safetensors, made by tools/fixtures/.
#pragma once

#include <set>
#include <string>

#include "nn/module.h"
#include "tensor/io/safetensors.h"
#include "tests/compare.h"
#include "tests/source_dir.h"

namespace clipcap::testing {

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name)
      : tensors_(read_safetensors(golden_path(name + ".safetensors").string()).tensors) {}

  [[nodiscard]] const Tensor& at(const std::string& name) const { return tensors_.at(name); }

  /// The tensors of one part without its prefix, without those named in `inputs` and without the gradients
  /// (their names begin with "d_").
  [[nodiscard]] nn::StateDict weights(const std::string& part, const std::set<std::string>& inputs) const {
    nn::StateDict state;
    for (const auto& [name, value] : tensors_) {
      if (!name.starts_with(part + ".")) continue;
      const std::string own = name.substr(part.size() + 1);
      if (!inputs.contains(own) && !own.starts_with("d_")) state[own] = value;
    }
    return state;
  }

 private:
  nn::StateDict tensors_;
};

/// Largest difference of two tensors of any floating type.
inline Deviation difference(const Tensor& a, const Tensor& b) {
  return max_error(a.to(DType::f64).to_vector<double>(), b.to(DType::f64).to_vector<double>());
}

}  // namespace clipcap::testing
