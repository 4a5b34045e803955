// Tensor-level front doors: check shapes, allocate the output, call the Op. No gradients (autograd/ops.h has those).
// Floating ops take f32, bf16 or f64, as far as the tensors' device has kernels for them (tensor/op.h).
#pragma once

#include <memory>

#include "tensor/kernels/activation.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/prepared_weight.h"
#include "tensor/tensor.h"

namespace clipcap {

/// Calls body(T{}) with the C++ type of a dtype that ops compute in; other dtypes throw naming the op.
template <class Body>
decltype(auto) visit_compute_dtype(const char* op, DType dtype, Body&& body) {
  CHECK(dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16, op, ": dtype ", dtype,
        "; expected f32, f64 or bf16");
  if (dtype == DType::f64) return body(double{});
  if (dtype == DType::bf16) return body(bfloat16{});
  return body(float{});
}

/// First element, or null for an undefined tensor: how optional inputs reach a kernel.
template <class T>
[[nodiscard]] T* data_or_null(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

/// Throws unless both are defined, of one dtype and on one device.
void check_same_kind(const char* op, const Tensor& a, const Tensor& b);

namespace ops {

/// a (+,-,*,/) b with NumPy broadcasting.
[[nodiscard]] Tensor binary(BinaryKind kind, const Tensor& a, const Tensor& b);
[[nodiscard]] Tensor add(const Tensor& a, const Tensor& b);
[[nodiscard]] Tensor sub(const Tensor& a, const Tensor& b);
[[nodiscard]] Tensor mul(const Tensor& a, const Tensor& b);
/// x * scale + shift
[[nodiscard]] Tensor affine(const Tensor& x, double scale, double shift = 0.0);
/// target += x, in place; same shape, both contiguous.
void add_in_place(const Tensor& target, const Tensor& x);

/// Sum over dimension `dim`, which disappears (or stays with size 1 when `keep`).
[[nodiscard]] Tensor sum(const Tensor& x, int dim, bool keep = false);
/// Sum of all elements, shape [].
[[nodiscard]] Tensor sum_all(const Tensor& x);
/// Sums x down to `shape`, which must broadcast to x's: the gradient of broadcasting.
[[nodiscard]] Tensor sum_to(const Tensor& x, const Shape& shape);

/// Batched product: a [..., M,K] (or [..., K,M] if transpose_a), b [..., K,N] (or [..., N,K]); equal leading
/// dimensions, or b with two dimensions only, shared by all of a's rows. Returns [..., M,N].
[[nodiscard]] Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false,
                            bool transpose_b = false);
/// x [..., K] times weight [N,K] transposed, plus bias [N] if defined: [..., N].
[[nodiscard]] Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// The weight [N,K] of a linear layer made ready for its device's products (tensor/kernels/matmul.h).
struct PreparedLinear {
  std::shared_ptr<const PreparedWeight> weight;
  int64_t n = 0;
  int64_t k = 0;
  DType dtype = DType::f32;
  Device device;
};
/// What follows the product: f(x W^T + bias) + residual. Bias [N] and residual [..., N] may be undefined.
struct Epilogue {
  Tensor bias = {};
  Activation activation = Activation::none;
  Tensor residual = {};
};
[[nodiscard]] PreparedLinear prepare_linear(const Tensor& weight);
[[nodiscard]] Tensor linear(const Tensor& x, const PreparedLinear& weight, const Epilogue& epilogue);

[[nodiscard]] Tensor concat(std::span<const Tensor> parts, int dim);
/// Rows of table [V, ...] picked by ids (i32, any shape [..]): [.., ...].
[[nodiscard]] Tensor gather_rows(const Tensor& table, const Tensor& ids);
/// Softmax (or log-softmax) over the last dimension.
[[nodiscard]] Tensor softmax(const Tensor& x, bool log = false);
/// Index of the largest element of every row of x [N,D] (lowest index on ties).
[[nodiscard]] std::vector<int32_t> argmax_rows(const Tensor& x);

}  // namespace ops
}  // namespace clipcap
