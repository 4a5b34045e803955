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

Tensor Conv2d::forward(const Tensor& x, const Run& run) const { return forward(x, Tensor(), run); }

Tensor Conv2d::forward(const Tensor& x, const Tensor& residual, const Run& run) const {
  Call call(run, *this, "forward", x, residual);
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
    residual.check_writable("Conv2d: residual");
  }
  const Tensor y = residual.defined() ? residual : Tensor::empty(shape, x.dtype(), x.device());
  if (packed_) {
    CHECK(x.device().is_cpu() && x.dtype() == DType::f32, "Conv2d: packed for f32 on the CPU, x is ",
          x.dtype(), " on ", x.device());
  } else {
    check_same_kind("Conv2d", x, weight.value());
  }
  const Tensor w = packed_ ? Tensor() : weight.value().contiguous();
  const Tensor b = packed_ ? packed_bias_ : bias.value().contiguous();
  visit_compute_dtype("Conv2d", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Conv2dFwd<T> p{};
    p.x = x.data<T>();
    p.weight = data_or_null<T>(w);
    p.bias = b.data<T>();
    p.residual = data_or_null<T>(residual);
    p.y = y.data<T>();
    p.n = x.dim(0);
    p.h = x.dim(1);
    p.w = x.dim(2);
    p.geometry = g;
    p.relu = options_.relu;
    p.prepared = packed_.get();
    conv2d_fwd(x.device(), p);
  });
  return call.returns(y);
}

bool Conv2d::pack() {
  if (packed_ || weight.dtype() != DType::f32 || !weight.value().device().is_cpu()) return false;
  const Tensor w = weight.value().contiguous();
  PrepareConv2d<float> p{};
  p.weight = w.data<float>();
  p.geometry = geometry_;
  p.prepared = &packed_;
  prepare_conv2d(kCpu, p);
  packed_bias_ = bias.value().clone();  // it may lie in a file
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
