// Every differentiable op and every module, each with small f64 inputs of odd sizes: what `clipcap gradcheck`
// and the tests run.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "autograd/gradcheck.h"

namespace clipcap {

struct GradcheckCase {
  std::string name;
  std::function<GradcheckResult()> run;
};

/// In the order of autograd/ops.h, then nn/, then clipcap/.
[[nodiscard]] std::span<const GradcheckCase> gradcheck_cases();

/// A case passes when its worst error is below this: central differences in double are good to about 1e-9.
inline constexpr double kGradcheckLimit = 1e-6;

}  // namespace clipcap
