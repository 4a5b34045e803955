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

Variable Linear::forward(const Variable& x, const Variable& residual) const {
  CHECK(residual.defined() == options_.residual, "Linear: residual ",
        residual.defined() ? "given" : "missing");
  if (residual.defined()) {  // no broadcasting here: the packed product writes over it
    Shape shape = x.shape();
    shape.set(-1, out_features_);
    check_same_kind("Linear", x.value(), residual.value());
    CHECK(residual.shape() == shape, "Linear: residual is ", residual.shape(), "; expected ", shape);
  }
  if (packed_) {
    CHECK(NoGrad::active(), "Linear: packed for inference; run it under NoGrad");
    const Tensor other = residual.defined() ? residual.value() : Tensor();
    return Variable(ops::linear(x.value(), *packed_, {packed_bias_, options_.activation, other}));
  }
  Variable y = options_.activation == Activation::none
                   ? diff::linear(x, weight, bias)
                   : diff::bias_activation(diff::linear(x, weight, {}), bias, options_.activation);
  return residual.defined() ? diff::add(y, residual) : y;
}

bool Linear::pack() {
  if (packed_ || weight.dtype() != DType::f32 || !weight.value().device().is_cpu()) return false;
  packed_ = std::make_shared<const ops::PreparedLinear>(ops::prepare_linear(weight.value()));
  if (bias.defined()) packed_bias_ = bias.value();
  weight = Variable();
  bias = Variable();
  return true;
}

std::string Linear::describe() const {
  const char* activation = options_.activation == Activation::relu         ? ", relu"
                           : options_.activation == Activation::gelu       ? ", gelu"
                           : options_.activation == Activation::quick_gelu ? ", quick_gelu"
                                                                           : "";
  return concat_text("Linear ", in_features_, " -> ", out_features_, activation,
                     options_.residual ? ", + residual" : "");
}

}  // namespace clipcap::nn
