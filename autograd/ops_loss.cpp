// Losses. Both kernels give the gradient in the same pass as the loss; backward only scales it.
#include "autograd/ops.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/l1_distill.h"
#include "tensor/ops.h"

namespace clipcap::diff {
namespace {

// The gradient that forward has left, times that of the loss; in the same memory if it is not needed again.
Tensor scaled(const Tensor& dx, const Tensor& loss_grad, bool last) {
  if (dx.numel() == 0) return dx;
  const Tensor factor = loss_grad.to(dx.dtype());
  const Tensor y = last ? dx : Tensor::empty(dx.shape(), dx.dtype(), dx.device());
  visit_compute_dtype("loss", dx.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Binary<T> p{};
    p.a = dx.data<T>();
    p.b = factor.data<T>();
    p.y = y.data<T>();
    p.rank = 1;
    p.sizes[0] = dx.numel();
    p.a_strides[0] = 1;
    p.kind = BinaryKind::mul;
    binary(dx.device(), p);
  });
  return y;
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& targets, int32_t ignore_index,
                       double label_smoothing, double denominator) {
  CHECK(denominator >= 0, "cross_entropy: denominator ", denominator);
  const Tensor x = logits.value().contiguous();
  CHECK(targets.dtype() == DType::i32 && x.rank() >= 1 && targets.rank() == x.rank() - 1,
        "cross_entropy: logits are ", x.shape(), ", targets ", targets.dtype(), ' ', targets.shape(),
        "; expected [...,V] and i32 [...]");
  for (int i = 0; i < targets.rank(); ++i) {
    CHECK(targets.dim(i) == x.dim(i), "cross_entropy: logits are ", x.shape(), ", targets ", targets.shape());
  }
  CHECK(label_smoothing >= 0 && label_smoothing < 1, "cross_entropy: label smoothing ", label_smoothing);
  const Tensor wanted = targets.contiguous();
  const bool record = any_requires_grad({&logits});
  Tensor loss = Tensor::empty({}, real_dtype(x.dtype()), x.device());
  Tensor dx = record ? Tensor::empty(x.shape(), x.dtype(), x.device()) : Tensor();
  visit_compute_dtype("cross_entropy", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    CrossEntropy<T> p{};
    p.logits = x.data<T>();
    p.targets = wanted.data<int32_t>();
    p.ignore_index = ignore_index;
    p.label_smoothing = static_cast<float>(label_smoothing);
    p.loss = loss.data<Real<T>>();
    p.denominator = denominator;
    p.dlogits = record ? dx.data<T>() : nullptr;
    p.rows = wanted.numel();
    p.vocab = x.dim(-1);
    clipcap::cross_entropy(x.device(), p);
  });
  return make_result("cross_entropy", loss, {logits}, [dx](const BackwardArgs& g) -> std::vector<Tensor> {
    return {scaled(dx, g[0], g.last())};
  });
}

Variable l1_distill(const Variable& student, const Tensor& teacher, const Tensor& valid, double denominator) {
  CHECK(denominator >= 0, "l1_distill: denominator ", denominator);
  const Tensor x = student.value().contiguous();
  const Tensor target = teacher.contiguous();
  check_same_kind("l1_distill", x, target);
  CHECK(x.rank() == 3, "l1_distill: student is ", x.shape(), "; expected [B,n,D]");
  const bool per_frame = target.rank() == 3;
  CHECK(per_frame ? target.shape() == x.shape() : target.shape() == Shape({x.dim(0), x.dim(2)}),
        "l1_distill: student is ", x.shape(), ", teacher ", target.shape(), "; expected [", x.dim(0), ", ",
        x.dim(2), "] or the student's shape");
  Tensor mask;
  if (valid.defined()) {
    CHECK(valid.dtype() == DType::u8 && valid.shape() == Shape({x.dim(0), x.dim(1)}), "l1_distill: valid is ",
          valid.dtype(), ' ', valid.shape(), ", student ", x.shape());
    mask = valid.contiguous();
  }
  const bool record = any_requires_grad({&student});
  Tensor loss = Tensor::empty({}, real_dtype(x.dtype()), x.device());
  Tensor dx = record ? Tensor::empty(x.shape(), x.dtype(), x.device()) : Tensor();
  visit_compute_dtype("l1_distill", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    L1Distill<T> p{};
    p.student = x.data<T>();
    p.teacher = target.data<T>();
    p.valid = mask.defined() ? mask.data<uint8_t>() : nullptr;
    p.loss = loss.data<Real<T>>();
    p.denominator = denominator;
    p.dstudent = record ? dx.data<T>() : nullptr;
    p.batch = x.dim(0);
    p.frames = x.dim(1);
    p.dim = x.dim(2);
    p.teacher_row_stride = per_frame ? x.dim(2) : 0;
    clipcap::l1_distill(x.device(), p);
  });
  return make_result("l1_distill", loss, {student}, [dx](const BackwardArgs& g) -> std::vector<Tensor> {
    return {scaled(dx, g[0], g.last())};
  });
}

}  // namespace clipcap::diff
