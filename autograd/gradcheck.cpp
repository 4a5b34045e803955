#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "tensor/random.h"

namespace clipcap {
namespace {

double weighted_sum(const Variable& output, const Tensor& weights) {
  const std::vector<double> values = output.value().to_vector<double>();
  const double* weight = weights.host<double>();
  double total = 0;
  for (size_t i = 0; i < values.size(); ++i) total += values[i] * weight[i];
  return total;
}

}  // namespace

GradcheckResult gradcheck(const std::function<Variable()>& function, std::span<const Variable> inputs,
                          double step, int64_t sample) {
  for (const Variable& input : inputs) {
    CHECK(input.dtype() == DType::f64 && input.is_leaf() && input.value().is_contiguous(),
          "gradcheck: inputs must be contiguous f64 leaves");
    input.zero_grad();
  }
  const Variable output = function();
  Tensor weights = Tensor::empty(output.shape(), DType::f64);
  for (int64_t i = 0; i < weights.numel(); ++i) {
    weights.host<double>()[i] = 0.5 + 0.5 * normal_at(99, 3, static_cast<uint64_t>(i));
  }
  output.backward(weights);
  GradcheckResult result;
  const NoGrad guard;
  for (size_t n = 0; n < inputs.size(); ++n) {
    double* values = inputs[n].value().host<double>();
    const int64_t count = inputs[n].value().numel();
    const Tensor grad = inputs[n].grad().defined() ? inputs[n].grad().contiguous()
                                                   : Tensor::zeros(inputs[n].shape(), DType::f64);
    const int64_t tried = std::min(count, sample);
    for (int64_t i = 0; i < tried; ++i) {
      const int64_t at = tried == count ? i : i * count / tried;
      const double before = values[at];
      values[at] = before + step;
      const double above = weighted_sum(function(), weights);
      values[at] = before - step;
      const double below = weighted_sum(function(), weights);
      values[at] = before;
      const double numeric = (above - below) / (2 * step);
      const double analytic = grad.host<double>()[at];
      const double error = std::abs(analytic - numeric) / std::max(1.0, std::abs(numeric));
      ++result.elements;
      // A NaN is the worst there is, and stays.
      if (!std::isnan(result.worst) && !(error <= result.worst)) {
        result.worst = error;
        result.place = concat_text("input ", n, " ", inputs[n].shape(), ", element ", at, ": analytic ",
                                   analytic, ", numeric ", numeric);
      }
    }
  }
  return result;
}

}  // namespace clipcap
