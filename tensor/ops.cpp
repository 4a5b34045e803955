#include "tensor/ops.h"

#include <algorithm>

#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/reduce.h"

namespace clipcap {

void check_same_kind(const char* op, const Tensor& a, const Tensor& b) {
  CHECK(a.defined() && b.defined(), op, ": undefined tensor");
  CHECK(a.dtype() == b.dtype(), op, ": dtypes ", a.dtype(), ' ', a.shape(), " and ", b.dtype(), ' ',
        b.shape());
  CHECK(a.device() == b.device(), op, ": devices ", a.device(), " and ", b.device());
}

namespace ops {

Tensor binary(BinaryKind kind, const Tensor& a, const Tensor& b) {
  check_same_kind("binary", a, b);
  const Shape shape = broadcast_shapes("binary", a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  const Tensor wide_a = a.expand(shape);
  const Tensor wide_b = b.expand(shape);
  visit_compute_dtype("binary", a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Binary<T> p{.a = a.data<T>(), .b = b.data<T>(), .y = y.data<T>(), .rank = shape.rank(), .kind = kind};
    for (int i = 0; i < shape.rank(); ++i) {
      p.sizes[i] = shape[i];
      p.a_strides[i] = wide_a.stride(i);
      p.b_strides[i] = wide_b.stride(i);
    }
    clipcap::binary(a.device(), p);
  });
  return y;
}

Tensor add(const Tensor& a, const Tensor& b) { return binary(BinaryKind::add, a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return binary(BinaryKind::sub, a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return binary(BinaryKind::mul, a, b); }

Tensor affine(const Tensor& x, double scale, double shift) {
  const Tensor source = x.contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  visit_compute_dtype("affine", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Affine<T> p{.x = source.data<T>(),
                      .y = y.data<T>(),
                      .count = x.numel(),
                      .scale = static_cast<Real<T>>(scale),
                      .shift = static_cast<Real<T>>(shift)};
    clipcap::affine(x.device(), p);
  });
  return y;
}

void add_in_place(const Tensor& target, const Tensor& x) {
  check_same_kind("add_in_place", target, x);
  CHECK(target.shape() == x.shape() && target.is_contiguous(), "add_in_place: ", x.shape(), " into ",
        target.shape());
  target.check_writable("add_in_place");
  const Tensor source = x.contiguous();
  visit_compute_dtype("add_in_place", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Binary<T> p{.a = target.data<T>(),
                      .b = source.data<T>(),
                      .y = target.data<T>(),
                      .rank = 1,
                      .sizes = {x.numel()},
                      .a_strides = {1},
                      .b_strides = {1},
                      .kind = BinaryKind::add};
    clipcap::binary(x.device(), p);
  });
}

Tensor sum(const Tensor& x, int dim, bool keep) {
  const int d = x.shape().index(dim);
  const Tensor source = x.contiguous();
  int64_t outer = 1;
  int64_t inner = 1;
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i < d) outer *= x.dim(i);
    if (i > d) inner *= x.dim(i);
    if (i != d) shape.append(x.dim(i));
    if (i == d && keep) shape.append(1);
  }
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  visit_compute_dtype("sum", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const SumMiddle<T> p{
        .x = source.data<T>(), .y = y.data<T>(), .outer = outer, .reduce = x.dim(d), .inner = inner};
    clipcap::sum_middle(x.device(), p);
  });
  return y;
}

Tensor sum_all(const Tensor& x) { return sum(x.reshape({-1}), 0); }

Tensor sum_to(const Tensor& x, const Shape& shape) {
  Tensor result = x;
  while (result.rank() > shape.rank()) result = sum(result, 0);
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1 && result.dim(i) != 1) result = sum(result, i, true);
  }
  CHECK(result.shape() == shape, "sum_to: ", x.shape(), " to ", shape);
  return result;
}

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check_same_kind("matmul", a, b);
  CHECK(a.rank() >= 2 && b.rank() >= 2, "matmul: ", a.shape(), " times ", b.shape(),
        "; expected at least [M,K] and [K,N]");
  const int64_t m = a.dim(transpose_a ? -1 : -2);
  const int64_t k = a.dim(transpose_a ? -2 : -1);
  const int64_t n = b.dim(transpose_b ? -2 : -1);
  CHECK(b.dim(transpose_b ? -1 : -2) == k, "matmul: inner sizes differ: ", a.shape(), transpose_a ? "^T" : "",
        " times ", b.shape(), transpose_b ? "^T" : "");
  int64_t batch = 1;
  Shape shape;
  for (int i = 0; i < a.rank() - 2; ++i) {
    shape.append(a.dim(i));
    batch *= a.dim(i);
  }
  const bool shared_b = b.rank() == 2;
  if (!shared_b) {
    CHECK(a.rank() == b.rank(), "matmul: ", a.shape(), " times ", b.shape());
    for (int i = 0; i < a.rank() - 2; ++i) {
      CHECK(a.dim(i) == b.dim(i), "matmul: leading sizes differ: ", a.shape(), " times ", b.shape());
    }
  }
  shape.append(m);
  shape.append(n);
  const Tensor left = a.contiguous();
  const Tensor right = b.contiguous();
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  if (y.numel() == 0) return y;
  const bool one_product = shared_b && !transpose_a;  // all rows of a in one GEMM
  visit_compute_dtype("matmul", a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Matmul<T> p{};
    p.a = left.data<T>();
    p.b = right.data<T>();
    p.c = y.data<T>();
    p.batch = one_product ? 1 : batch;
    p.m = one_product ? batch * m : m;
    p.n = n;
    p.k = k;
    p.a_batch_stride = m * k;
    p.b_batch_stride = shared_b ? 0 : k * n;
    p.c_batch_stride = m * n;
    p.a_transposed = transpose_a;
    p.b_transposed = transpose_b;
    clipcap::matmul(a.device(), p);
  });
  return y;
}

namespace {

// x [...,K]: its rows, and the shape [...,N] of its product with a weight [N,K].
struct LinearShape {
  int64_t rows = 1;
  Shape y;
  LinearShape(const Tensor& x, int64_t n, int64_t k) : y(x.shape()) {
    CHECK(x.rank() >= 1 && x.dim(-1) == k, "linear: x is ", x.shape(), ", weight ", Shape({n, k}),
          "; expected [..., K] and [N,K]");
    for (int i = 0; i + 1 < x.rank(); ++i) rows *= x.dim(i);
    y.set(-1, n);
  }
};

void check_bias(const Tensor& x, const Tensor& bias, int64_t n) {
  if (!bias.defined()) return;
  check_same_kind("linear", x, bias);
  CHECK(bias.shape() == Shape({n}), "linear: bias is ", bias.shape(), "; expected [", n, "]");
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_same_kind("linear", x, weight);
  CHECK(weight.rank() == 2, "linear: weight is ", weight.shape(), "; expected [N,K]");
  const LinearShape shape(x, weight.dim(0), weight.dim(1));
  check_bias(x, bias, weight.dim(0));
  Tensor y = Tensor::empty(shape.y, x.dtype(), x.device());
  if (y.numel() == 0) return y;
  const Tensor input = x.contiguous();
  const Tensor w = weight.contiguous();
  const Tensor b = bias.defined() ? bias.contiguous() : Tensor();
  visit_compute_dtype("linear", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Matmul<T> p{};
    p.a = input.data<T>();
    p.b = w.data<T>();
    p.bias = data_or_null<T>(b);
    p.c = y.data<T>();
    p.m = shape.rows;
    p.n = weight.dim(0);
    p.k = weight.dim(1);
    p.b_transposed = true;
    clipcap::matmul(x.device(), p);
  });
  return y;
}

PreparedLinear prepare_linear(const Tensor& weight) {
  CHECK(weight.defined() && weight.rank() == 2, "prepare_linear: expected a weight [N,K]");
  PreparedLinear result{nullptr, weight.dim(0), weight.dim(1), weight.dtype(), weight.device()};
  const Tensor w = weight.contiguous();
  visit_compute_dtype("prepare_linear", weight.dtype(), [&](auto tag) {
    using T = decltype(tag);
    PrepareMatmul<T> p{};
    p.b = w.data<T>();
    p.n = result.n;
    p.k = result.k;
    p.prepared = &result.weight;
    prepare_matmul(weight.device(), p);
  });
  return result;
}

Tensor linear(const Tensor& x, const PreparedLinear& weight, const Epilogue& epilogue) {
  CHECK(x.defined() && x.dtype() == weight.dtype && x.device() == weight.device, "linear: x is ", x.dtype(),
        " on ", x.device(), ", weight prepared for ", weight.dtype, " on ", weight.device);
  const LinearShape shape(x, weight.n, weight.k);
  check_bias(x, epilogue.bias, weight.n);
  Tensor residual;
  if (epilogue.residual.defined()) {
    check_same_kind("linear", x, epilogue.residual);
    CHECK(epilogue.residual.shape() == shape.y, "linear: residual is ", epilogue.residual.shape(),
          "; expected ", shape.y);
    residual = epilogue.residual.contiguous();
  }
  Tensor y = Tensor::empty(shape.y, x.dtype(), x.device());
  if (y.numel() == 0) return y;
  const Tensor input = x.contiguous();
  const Tensor bias = epilogue.bias.defined() ? epilogue.bias.contiguous() : Tensor();
  visit_compute_dtype("linear", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Matmul<T> p{};
    p.a = input.data<T>();
    p.bias = data_or_null<T>(bias);
    p.residual = data_or_null<T>(residual);
    p.c = y.data<T>();
    p.m = shape.rows;
    p.n = weight.n;
    p.k = weight.k;
    p.b_transposed = true;
    p.activation = epilogue.activation;
    p.prepared = weight.weight.get();
    clipcap::matmul(x.device(), p);
  });
  return y;
}

Tensor concat(std::span<const Tensor> parts, int dim) {
  CHECK(!parts.empty(), "concat: no tensors");
  Shape shape = parts[0].shape();
  const int d = shape.index(dim);
  int64_t total = 0;
  for (const Tensor& part : parts) {
    check_same_kind("concat", parts[0], part);
    CHECK(part.rank() == shape.rank(), "concat: ", parts[0].shape(), " and ", part.shape());
    for (int i = 0; i < shape.rank(); ++i) {
      CHECK(i == d || part.dim(i) == shape[i], "concat: ", parts[0].shape(), " and ", part.shape(), " along ",
            d);
    }
    total += part.dim(d);
  }
  shape.set(d, total);
  Tensor y = Tensor::empty(shape, parts[0].dtype(), parts[0].device());
  int64_t at = 0;
  for (const Tensor& part : parts) {
    y.slice(d, at, part.dim(d)).copy_from(part);
    at += part.dim(d);
  }
  return y;
}

Tensor gather_rows(const Tensor& table, const Tensor& ids) {
  CHECK(table.rank() >= 1 && ids.dtype() == DType::i32, "gather_rows: table ", table.shape(), ", ids ",
        ids.dtype());
  Shape shape = ids.shape();
  int64_t width = 1;
  for (int i = 1; i < table.rank(); ++i) {
    shape.append(table.dim(i));
    width *= table.dim(i);
  }
  const Tensor source = table.contiguous();
  const Tensor index = ids.contiguous();
  Tensor y = Tensor::empty(shape, table.dtype(), table.device());
  visit_compute_dtype("gather_rows", table.dtype(), [&](auto tag) {
    using T = decltype(tag);
    EmbeddingFwd<T> p{};
    p.ids = index.data<int32_t>();
    p.table = source.data<T>();
    p.y = y.data<T>();
    p.count = ids.numel();
    p.vocab = table.dim(0);
    p.dim = width;
    embedding_fwd(table.device(), p);
  });
  return y;
}

Tensor softmax(const Tensor& x, bool log) {
  const Tensor source = x.contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const int64_t dim = x.dim(-1);
  if (x.numel() == 0) return y;
  visit_compute_dtype("softmax", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const SoftmaxFwd<T> p{
        .x = source.data<T>(), .y = y.data<T>(), .rows = x.numel() / dim, .dim = dim, .log = log};
    softmax_fwd(x.device(), p);
  });
  return y;
}

std::vector<int32_t> argmax_rows(const Tensor& x) {
  CHECK(x.rank() == 2 && x.dim(1) > 0, "argmax_rows: ", x.shape(), "; expected [N,D]");
  const Tensor host = x.to(kCpu).to(DType::f32).contiguous();
  const float* values = host.host<float>();
  std::vector<int32_t> best(static_cast<size_t>(x.dim(0)));
  for (size_t i = 0; i < best.size(); ++i) {
    const float* row = values + static_cast<int64_t>(i) * x.dim(1);
    best[i] = static_cast<int32_t>(std::max_element(row, row + x.dim(1)) - row);
  }
  return best;
}

}  // namespace ops
}  // namespace clipcap
