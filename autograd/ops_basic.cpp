// Arithmetic, shape and products.
#include <cmath>
#include <utility>

#include "autograd/ops.h"
#include "tensor/ops.h"

namespace clipcap::diff {
namespace {

// x as [rows, its last dimension]; -1 could not say it when a dimension is 0.
Tensor as_rows(const Tensor& x) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < x.rank(); ++i) rows *= x.dim(i);
  return x.reshape({rows, x.dim(-1)});
}

}  // namespace

Variable add(const Variable& a, const Variable& b) {
  const Shape a_shape = a.shape();
  const Shape b_shape = b.shape();
  return make_result("add", ops::add(a.value(), b.value()), {a, b},
                     [a_shape, b_shape](const BackwardArgs& g) -> std::vector<Tensor> {
                       return {g.wants(0) ? ops::sum_to(g[0], a_shape) : Tensor(),
                               g.wants(1) ? ops::sum_to(g[0], b_shape) : Tensor()};
                     });
}

Variable sub(const Variable& a, const Variable& b) {
  const Shape a_shape = a.shape();
  const Shape b_shape = b.shape();
  return make_result("sub", ops::sub(a.value(), b.value()), {a, b},
                     [a_shape, b_shape](const BackwardArgs& g) -> std::vector<Tensor> {
                       return {g.wants(0) ? ops::sum_to(g[0], a_shape) : Tensor(),
                               g.wants(1) ? ops::affine(ops::sum_to(g[0], b_shape), -1.0) : Tensor()};
                     });
}

Variable mul(const Variable& a, const Variable& b) {
  const Shape a_shape = a.shape();
  const Shape b_shape = b.shape();
  // Each side is kept for the other one's gradient.
  const Tensor x = saved_for(b, a.value());
  const Tensor y = saved_for(a, b.value());
  return make_result("mul", ops::mul(a.value(), b.value()), {a, b},
                     [=](const BackwardArgs& g) -> std::vector<Tensor> {
                       return {g.wants(0) ? ops::sum_to(ops::mul(g[0], y), a_shape) : Tensor(),
                               g.wants(1) ? ops::sum_to(ops::mul(g[0], x), b_shape) : Tensor()};
                     });
}

Variable scale(const Variable& x, double factor) {
  return make_result(
      "scale", ops::affine(x.value(), factor), {x},
      [factor](const BackwardArgs& g) -> std::vector<Tensor> { return {ops::affine(g[0], factor)}; });
}

Variable scale_exp(const Variable& x, const Variable& log_factor) {
  CHECK(log_factor.value().numel() == 1, "scale_exp: log_factor is ", log_factor.shape(),
        "; expected one number");
  CHECK(log_factor.dtype() == x.dtype(), "scale_exp: x is ", x.dtype(), ", log_factor ", log_factor.dtype());
  const double factor = std::exp(log_factor.value().item());
  const Tensor y = ops::affine(x.value(), factor);
  const Tensor kept = saved_for(log_factor, y);
  const Shape shape = log_factor.shape();
  return make_result("scale_exp", y, {x, log_factor}, [=](const BackwardArgs& g) -> std::vector<Tensor> {
    Tensor dx, dlog;
    if (g.wants(0)) dx = ops::affine(g[0], factor);
    if (g.wants(1)) dlog = ops::sum_all(ops::mul(g[0], kept)).reshape(shape);
    return {dx, dlog};
  });
}

Variable sum(const Variable& x) {
  const Shape shape = x.shape();
  return make_result(
      "sum", ops::sum_all(x.value()), {x},
      [shape](const BackwardArgs& g) -> std::vector<Tensor> { return {g[0].expand(shape).contiguous()}; });
}

Variable mean(const Variable& x) {
  CHECK(x.value().numel() > 0, "mean: no elements in ", x.shape());
  return scale(sum(x), 1.0 / static_cast<double>(x.value().numel()));
}

namespace {

Variable reshaped(const Variable& x, Tensor value) {
  const Shape before = x.shape();
  return make_result(
      "reshape", std::move(value), {x},
      [before](const BackwardArgs& g) -> std::vector<Tensor> { return {g[0].reshape(before)}; });
}

}  // namespace

Variable reshape(const Variable& x, const Shape& shape) { return reshaped(x, x.value().reshape(shape)); }

Variable reshape(const Variable& x, std::initializer_list<int64_t> sizes) {
  return reshaped(x, x.value().reshape(sizes));
}

Variable transpose(const Variable& x, int i, int j) {
  return make_result("transpose", x.value().transpose(i, j), {x},
                     [i, j](const BackwardArgs& g) -> std::vector<Tensor> { return {g[0].transpose(i, j)}; });
}

Variable slice(const Variable& x, int dim, int64_t start, int64_t length) {
  const Shape before = x.shape();
  return make_result("slice", x.value().slice(dim, start, length), {x},
                     [=](const BackwardArgs& g) -> std::vector<Tensor> {
                       Tensor dx = Tensor::zeros(before, g[0].dtype(), g[0].device());
                       dx.slice(dim, start, length).copy_from(g[0]);
                       return {dx};
                     });
}

Variable concat(const std::vector<Variable>& parts, int dim) {
  std::vector<Tensor> values;
  std::vector<int64_t> lengths;
  for (const Variable& part : parts) {
    values.push_back(part.value());
    lengths.push_back(part.dim(dim));
  }
  return make_result("concat", ops::concat(values, dim), parts, [=](const BackwardArgs& g) {
    std::vector<Tensor> grads;
    int64_t at = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      grads.push_back(g.wants(i) ? g[0].slice(dim, at, lengths[i]).contiguous() : Tensor());
      at += lengths[i];
    }
    return grads;
  });
}

Variable expand(const Variable& x, const Shape& shape) {
  const Shape before = x.shape();
  return make_result(
      "expand", x.value().expand(shape).contiguous(), {x},
      [before](const BackwardArgs& g) -> std::vector<Tensor> { return {ops::sum_to(g[0], before)}; });
}

Variable matmul(const Variable& a, const Variable& b) {
  const Tensor x = saved_for(b, a.value());
  const Tensor y = saved_for(a, b.value());
  const bool shared_b = b.value().rank() == 2;  // by every row of a
  return make_result("matmul", ops::matmul(a.value(), b.value()), {a, b},
                     [=](const BackwardArgs& g) -> std::vector<Tensor> {
                       Tensor da;
                       Tensor db;
                       if (g.wants(0)) da = ops::matmul(g[0], y, false, true);
                       if (g.wants(1)) {
                         db = shared_b ? ops::matmul(as_rows(x), as_rows(g[0]), true, false)
                                       : ops::matmul(x, g[0], true, false);
                       }
                       return {da, db};
                     });
}

Variable linear(const Variable& x, const Variable& weight, const Variable& bias) {
  const Shape x_shape = x.shape();
  // A frozen weight does not keep its input, a constant input not the weight.
  const Tensor input = saved_for(weight, x.value());
  const Tensor w = saved_for(x, weight.value());
  return make_result("linear",
                     ops::linear(x.value(), weight.value(), bias.defined() ? bias.value() : Tensor()),
                     {x, weight, bias}, [=](const BackwardArgs& g) -> std::vector<Tensor> {
                       const Tensor dy = as_rows(g[0]);
                       Tensor dx;
                       Tensor dw;
                       Tensor db;
                       if (g.wants(0)) dx = ops::matmul(dy, w).reshape(x_shape);
                       if (g.wants(1)) dw = ops::matmul(dy, as_rows(input), true, false);
                       if (g.wants(2)) db = ops::sum(dy, 0);
                       return {dx, dw, db};
                     });
}

}  // namespace clipcap::diff
