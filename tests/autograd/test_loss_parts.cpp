// Losses over parts of a batch, divided by the whole's denominator: their sum and their gradients
// are the whole's.
#include "autograd/ops.h"
#include "tensor/ops.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(shape.numel(), seed), shape).to(DType::f64);
}

std::vector<double> values(const Tensor& x) { return x.to_vector<double>(); }

}  // namespace

TEST_CASE("cross-entropy over micro-batches adds up to the whole batch's", "[loss_parts]") {
  // Rows of 5, 1, 0 and 3 counted tokens: the mean of the parts' means would be another number.
  const std::vector<int32_t> targets{0, 1, 2, 3, 4, -1, 5, -1, -1, -1, -1, -1, -1, -1, -1, 2, 2, 6, -1, -1};
  const Tensor whole_targets = Tensor::from(targets, {4, 5});
  const Variable w(random({7, 3}, 1), true);
  const Variable x(random({4, 5, 3}, 2));
  const Variable whole = diff::cross_entropy(diff::linear(x, w, {}), whole_targets, -1, 0.1);
  whole.backward();
  const std::vector<double> expected = values(w.grad());
  w.zero_grad();
  double total = 0;
  for (int64_t b = 0; b < 4; ++b) {
    const Variable logits = diff::linear(Variable(x.value().slice(0, b, 1)), w, {});
    const Variable part = diff::cross_entropy(logits, whole_targets.slice(0, b, 1), -1, 0.1, 9.0);
    total += part.value().item();
    part.backward();
  }
  CHECK(total == Approx(whole.value().item()).epsilon(1e-12));
  CHECK(testing::max_error(values(w.grad()), expected) < 1e-12);
}

TEST_CASE("distillation over micro-batches adds up to the whole batch's", "[loss_parts]") {
  const Tensor valid = Tensor::from(std::vector<uint8_t>{1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0}, {4, 3});
  const Variable w(random({5, 4}, 1), true);
  const Variable x(random({4, 3, 4}, 2));
  for (const bool per_frame : {false, true}) {
    const Tensor teacher = per_frame ? random({4, 3, 5}, 3) : random({4, 5}, 3);
    w.zero_grad();
    const Variable whole = diff::l1_distill(diff::linear(x, w, {}), teacher, valid);
    whole.backward();
    const std::vector<double> expected = values(w.grad());
    w.zero_grad();
    double total = 0;
    for (int64_t b = 0; b < 4; ++b) {
      const Variable student = diff::linear(Variable(x.value().slice(0, b, 1)), w, {});
      const Variable part = diff::l1_distill(student, teacher.slice(0, b, 1), valid.slice(0, b, 1), 6.0);
      total += part.value().item();
      part.backward();
    }
    CHECK(total == Approx(whole.value().item()).epsilon(1e-12));
    CHECK(testing::max_error(values(w.grad()), expected) < 1e-12);
  }
}

TEST_CASE("a denominator of zero means the loss's own count, a negative one is an error", "[loss_parts]") {
  const Tensor targets = Tensor::from(std::vector<int32_t>{1, -1, 0}, {3});
  const Variable logits(random({3, 4}, 1));
  CHECK(diff::cross_entropy(logits, targets, -1, 0.0, 0.0).value().item() ==
        diff::cross_entropy(logits, targets, -1, 0.0, 2.0).value().item());
  CHECK_THROWS_AS(diff::cross_entropy(logits, targets, -1, 0.0, -1.0), Error);
  const Variable student(random({1, 2, 4}, 2));
  CHECK_THROWS_AS(diff::l1_distill(student, random({1, 4}, 3), {}, -1.0), Error);
}
