// Arithmetic, shape and products.
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
                     [a_shape, b_shape](std::span<const Tensor> g) -> std::vector<Tensor> {
                       return {ops::sum_to(g[0], a_shape), ops::sum_to(g[0], b_shape)};
                     });
}

Variable sub(const Variable& a, const Variable& b) {
  const Shape a_shape = a.shape();
  const Shape b_shape = b.shape();
  return make_result("sub", ops::sub(a.value(), b.value()), {a, b},
                     [a_shape, b_shape](std::span<const Tensor> g) -> std::vector<Tensor> {
                       return {ops::sum_to(g[0], a_shape), ops::affine(ops::sum_to(g[0], b_shape), -1.0)};
                     });
}

Variable mul(const Variable& a, const Variable& b) {
  const Tensor x = a.value();
  const Tensor y = b.value();
  const bool want_a = a.requires_grad();
  const bool want_b = b.requires_grad();
  return make_result("mul", ops::mul(x, y), {a, b}, [=](std::span<const Tensor> g) -> std::vector<Tensor> {
    return {want_a ? ops::sum_to(ops::mul(g[0], y), x.shape()) : Tensor(),
            want_b ? ops::sum_to(ops::mul(g[0], x), y.shape()) : Tensor()};
  });
}

Variable scale(const Variable& x, double factor) {
  return make_result(
      "scale", ops::affine(x.value(), factor), {x},
      [factor](std::span<const Tensor> g) -> std::vector<Tensor> { return {ops::affine(g[0], factor)}; });
}

Variable sum(const Variable& x) {
  const Shape shape = x.shape();
  return make_result("sum", ops::sum_all(x.value()), {x},
                     [shape](std::span<const Tensor> g) -> std::vector<Tensor> {
                       return {g[0].expand(shape).contiguous()};
                     });
}

Variable mean(const Variable& x) {
  CHECK(x.value().numel() > 0, "mean: no elements in ", x.shape());
  return scale(sum(x), 1.0 / static_cast<double>(x.value().numel()));
}

Variable reshape(const Variable& x, const Shape& shape) {
  const Shape before = x.shape();
  return make_result(
      "reshape", x.value().reshape(shape), {x},
      [before](std::span<const Tensor> g) -> std::vector<Tensor> { return {g[0].reshape(before)}; });
}

Variable reshape(const Variable& x, std::initializer_list<int64_t> sizes) {
  const Shape before = x.shape();
  return make_result(
      "reshape", x.value().reshape(sizes), {x},
      [before](std::span<const Tensor> g) -> std::vector<Tensor> { return {g[0].reshape(before)}; });
}

Variable transpose(const Variable& x, int i, int j) {
  return make_result("transpose", x.value().transpose(i, j), {x},
                     [i, j](std::span<const Tensor> g) -> std::vector<Tensor> {
                       return {g[0].transpose(i, j).contiguous()};
                     });
}

Variable slice(const Variable& x, int dim, int64_t start, int64_t length) {
  const Shape before = x.shape();
  return make_result("slice", x.value().slice(dim, start, length), {x},
                     [=](std::span<const Tensor> g) -> std::vector<Tensor> {
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
  return make_result("concat", ops::concat(values, dim), parts, [=](std::span<const Tensor> g) {
    std::vector<Tensor> grads;
    int64_t at = 0;
    for (const int64_t length : lengths) {
      grads.push_back(g[0].slice(dim, at, length).contiguous());
      at += length;
    }
    return grads;
  });
}

Variable expand(const Variable& x, const Shape& shape) {
  const Shape before = x.shape();
  return make_result(
      "expand", x.value().expand(shape).contiguous(), {x},
      [before](std::span<const Tensor> g) -> std::vector<Tensor> { return {ops::sum_to(g[0], before)}; });
}

Variable matmul(const Variable& a, const Variable& b) {
  const Tensor x = a.value();
  const Tensor y = b.value();
  const bool want_a = a.requires_grad();
  const bool want_b = b.requires_grad();
  return make_result("matmul", ops::matmul(x, y), {a, b},
                     [=](std::span<const Tensor> g) -> std::vector<Tensor> {
                       Tensor da;
                       Tensor db;
                       if (want_a) da = ops::matmul(g[0], y, false, true);
                       if (want_b && y.rank() == 2) {  // shared by every row of a
                         db = ops::matmul(as_rows(x), as_rows(g[0]), true, false);
                       } else if (want_b) {
                         db = ops::matmul(x, g[0], true, false);
                       }
                       return {da, db};
                     });
}

Variable linear(const Variable& x, const Variable& weight, const Variable& bias) {
  const Tensor input = x.value();
  const Tensor w = weight.value();
  const bool want_x = x.requires_grad();
  const bool want_w = weight.requires_grad();
  const bool want_b = bias.requires_grad();
  return make_result("linear", ops::linear(input, w, bias.defined() ? bias.value() : Tensor()),
                     {x, weight, bias}, [=](std::span<const Tensor> g) -> std::vector<Tensor> {
                       const Tensor dy = as_rows(g[0]);
                       Tensor dx;
                       Tensor dw;
                       Tensor db;
                       if (want_x) dx = ops::matmul(dy, w).reshape(input.shape());
                       if (want_w) dw = ops::matmul(dy, as_rows(input), true, false);
                       if (want_b) db = ops::sum(dy, 0);
                       return {dx, dw, db};
                     });
}

}  // namespace clipcap::diff
