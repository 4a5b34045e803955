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
    CHECK(x.dim(-1) == in_features_ && x.dtype() == DType::f32, "Linear: x is ", x.dtype(), ' ', x.shape(),
          "; expected [..., ", in_features_, "]");
    const Tensor input = x.value().contiguous();
    Shape shape = x.shape();
    shape.set(-1, out_features_);
    const Tensor y = Tensor::empty(shape);
    const Tensor other = residual.defined() ? residual.value().contiguous() : Tensor();
    if (y.numel() > 0) {
      packed_->run(input.data<float>(), y.numel() / out_features_,
                   other.defined() ? other.data<float>() : nullptr, y.data<float>());
    }
    return Variable(y);
  }
  Variable y = options_.activation == Activation::none
                   ? diff::linear(x, weight, bias)
                   : diff::bias_activation(diff::linear(x, weight, {}), bias, options_.activation);
  return residual.defined() ? diff::add(y, residual) : y;
}

bool Linear::pack() {
  if (packed_ || weight.dtype() != DType::f32 || !weight.value().device().is_cpu()) return false;
  const Tensor w = weight.value().contiguous();
  const Tensor b = bias.defined() ? bias.value().contiguous() : Tensor();
  packed_ =
      std::make_shared<PackedLinear>(w.data<float>(), b.defined() ? b.data<float>() : nullptr, out_features_,
                                     in_features_, options_.activation, options_.residual);
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
