// Gradient check: backward against central differences, in double.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace clipcap {

struct GradcheckResult {
  double worst = 0;      // largest |analytic - numeric| / max(1, |numeric|); NaN when any of them is
  std::string place;     // "input 2, element 17: analytic …, numeric …"
  int64_t elements = 0;  // elements compared
};

/// `function` maps the f64 inputs to any variable; its elements are weighted by fixed random numbers and
/// summed, so that every output matters. `step` is the half-width of the difference. At most `sample`
/// elements of each input are tried (all when fewer). Inputs must require gradients.
[[nodiscard]] GradcheckResult gradcheck(const std::function<Variable()>& function,
                                        std::span<const Variable> inputs, double step = 1e-6,
                                        int64_t sample = 64);

}  // namespace clipcap
