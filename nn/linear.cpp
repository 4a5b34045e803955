#include "nn/linear.h"

#include "nn/init.h"
#include "tensor/ops.h"

namespace clipcap::nn {

Linear::Linear(int64_t in_features, int64_t out_features, Generator& generator, LinearOptions options)
    : weight(xavier_parameter(out_features, in_features, generator)),
      in_features_(in_features),
      out_features_(out_features),
      options_(options) {
  if (options.bias) bias = constant_parameter({out_features}, 0.0);
}

Variable Linear::forward(const Variable& x, const Run& run) const { return forward(x, Variable(), run); }

Variable Linear::forward(const Variable& x, const Variable& residual, const Run& run, double dropout) const {
  CHECK(residual.defined() == options_.residual, "Linear: residual ",
        residual.defined() ? "given" : "missing");
  CHECK(x.value().rank() >= 1 && x.dim(-1) == in_features_, "Linear: x is ", x.dtype(), ' ', x.shape(),
        "; expected [..., ", in_features_, "]");
  if (residual.defined()) {  // no broadcasting here: the packed product would read over its end
    Shape shape = x.shape();
    shape.set(-1, out_features_);
    check_same_kind("Linear", x.value(), residual.value());
    CHECK(residual.shape() == shape, "Linear: residual is ", residual.shape(), ", x ", x.shape(),
          "; expected ", shape);
  }
  Call call(run, *this, "forward", x, residual);
  if (packed_) {
    CHECK(NoGrad::active(), "Linear: packed for inference; run it under NoGrad");
    CHECK(!run.training || dropout == 0.0, "Linear: packed for inference, no dropout");
    const Tensor other = residual.defined() ? residual.value() : Tensor();
    const Tensor y = ops::linear(x.value(), *packed_, {packed_bias_, options_.activation, other});
    return call.returns(Variable(y));
  }
  Variable y = options_.activation == Activation::none
                   ? diff::linear(x, weight, bias)
                   : diff::bias_activation(diff::linear(x, weight, {}), bias, options_.activation);
  if (residual.defined()) y = diff::add(run.dropout(y, dropout), residual);
  return call.returns(y);
}

bool Linear::pack() {
  if (packed_ || weight.dtype() != DType::f32 || !weight.value().device().is_cpu()) return false;
  packed_ = std::make_shared<const ops::PreparedLinear>(ops::prepare_linear(weight.value()));
  if (bias.defined()) packed_bias_ = bias.value().clone();  // it may lie in a file
  weight = Variable();
  bias = Variable();
  return true;
}

std::string Linear::describe() const {
  const char* activation = options_.activation == Activation::relu         ? ", relu"
                           : options_.activation == Activation::gelu       ? ", gelu"
                           : options_.activation == Activation::quick_gelu ? ", quick_gelu"
                           : options_.activation == Activation::gelu_tanh  ? ", gelu_tanh"
                                                                           : "";
  return concat_text("Linear ", in_features_, " -> ", out_features_, activation,
                     options_.residual ? ", + residual" : "");
}

}  // namespace clipcap::nn
