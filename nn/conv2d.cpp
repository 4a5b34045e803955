#include "nn/conv2d.h"

#include <cmath>

#include "nn/init.h"
#include "tensor/ops.h"

namespace clipcap::nn {

Conv2d::Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, Generator& generator,
               Conv2dOptions options, double gain)
    : geometry_{in_channels, out_channels, kernel, kernel, options.stride, (kernel - 1) / 2},
      options_(options) {
  CHECK(kernel % 2 == 1, "Conv2d: kernel ", kernel, " is not odd");
  const double deviation = gain * std::sqrt(2.0 / static_cast<double>(in_channels * kernel * kernel));
  weight = normal_parameter({out_channels, in_channels, kernel, kernel}, deviation, generator);
  bias = constant_parameter({out_channels}, 0.0);
  weight.set_requires_grad(false);
  bias.set_requires_grad(false);
}

Tensor Conv2d::forward(const Tensor& x, const Tensor& residual) const {
  const Conv2dGeometry& g = geometry_;
  CHECK(x.rank() == 4 && x.dim(3) == g.in_channels && x.is_contiguous(), "Conv2d: x is ", x.shape(),
        "; expected [N, H, W, ", g.in_channels, "], contiguous");
  const Shape shape{x.dim(0), window_positions(x.dim(1), g.kernel_h, g.stride, g.padding),
                    window_positions(x.dim(2), g.kernel_w, g.stride, g.padding), g.out_channels};
  CHECK(residual.defined() == options_.residual, "Conv2d: residual ",
        residual.defined() ? "given" : "missing");
  if (residual.defined()) {
    check_same_kind("Conv2d", x, residual);
    CHECK(residual.shape() == shape && residual.is_contiguous(), "Conv2d: residual is ", residual.shape(),
          "; expected ", shape, ", contiguous");
  }
  const Tensor y = residual.defined() ? residual : Tensor::empty(shape, x.dtype(), x.device());
  if (packed_) {
    CHECK(x.device().is_cpu(), "Conv2d: packed for the CPU, x is on ", x.device());
    packed_->run(x.data<float>(), x.dim(0), x.dim(1), x.dim(2), data_or_null<float>(residual),
                 y.data<float>());
    return y;
  }
  check_same_kind("Conv2d", x, weight.value());
  const Tensor w = weight.value().contiguous();
  const Tensor b = bias.value().contiguous();
  visit_compute_dtype("Conv2d", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Conv2dFwd<T> p{x.data<T>(), w.data<T>(),  b.data<T>(), data_or_null<T>(residual),
                         y.data<T>(), x.dim(0),     x.dim(1),    x.dim(2),
                         g,           options_.relu};
    conv2d_fwd(x.device(), p);
  });
  return y;
}

bool Conv2d::pack() {
  if (packed_ || weight.dtype() != DType::f32 || !weight.value().device().is_cpu()) return false;
  const Tensor w = weight.value().contiguous();
  const Tensor b = bias.value().contiguous();
  packed_ = std::make_shared<PackedConv2d>(w.data<float>(), b.data<float>(), geometry_, options_.relu,
                                           options_.residual);
  weight = Variable();
  bias = Variable();
  return true;
}

std::string Conv2d::describe() const {
  const Conv2dGeometry& g = geometry_;
  std::string text =
      concat_text("Conv2d ", g.in_channels, " -> ", g.out_channels, ", ", g.kernel_h, "x", g.kernel_w);
  if (g.stride != 1) text += concat_text(", stride ", g.stride);
  if (options_.residual) text += ", + residual";
  if (options_.relu) text += ", relu";
  return text;
}

}  // namespace clipcap::nn
