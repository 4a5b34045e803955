// A loss over parts of a batch, each divided by the denominator of the whole, is the loss of the whole; so
// are the gradients. Float kernels and the double oracle alike.
#include "autograd/ops.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

Tensor values(const Shape& shape, uint64_t seed, DType dtype) {
  return Tensor::from(random_values<float>(shape.numel(), seed), shape).to(dtype);
}

std::vector<double> numbers(const Tensor& x) { return x.to(DType::f64).to_vector<double>(); }

}  // namespace

TEST_CASE("cross-entropy of parts adds up", "[loss_denominator]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Variable logits(values({3, 5, 11}, 1, dtype), true);
    const Tensor targets = Tensor::from(std::vector<int32_t>{1, 2, 0, 0, 0, 4, 10, 3, 7, 0, 9, 0, 0, 0, 0},
                                        {3, 5});  // 0: ignored
    const Variable whole = diff::cross_entropy(logits, targets, 0, 0.1);
    whole.backward();
    const std::vector<double> wanted = numbers(logits.grad());
    logits.zero_grad();
    const double counted = 2 + 4 + 1;
    double total = 0;
    for (const auto& [from, count] : {std::pair{0, 1}, std::pair{1, 2}}) {
      const Variable part = diff::cross_entropy(diff::slice(logits, 0, from, count),
                                                targets.slice(0, from, count), 0, 0.1, counted);
      total += part.value().item();
      part.backward();
    }
    CHECK(total == Approx(whole.value().item()).epsilon(1e-6));
    CHECK(max_error(numbers(logits.grad()), wanted) < 1e-7);
    CHECK_THROWS(diff::cross_entropy(logits, targets, 0, 0.1, -1.0));
  }
}

TEST_CASE("distillation of parts adds up", "[loss_denominator]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Variable student(values({3, 4, 6}, 2, dtype), true);
    const Tensor teacher = values({3, 6}, 3, dtype);
    const Tensor valid = Tensor::from(std::vector<uint8_t>{1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0}, {3, 4});
    const Variable whole = diff::l1_distill(student, teacher, valid);
    whole.backward();
    const std::vector<double> wanted = numbers(student.grad());
    student.zero_grad();
    double total = 0;
    for (const auto& [from, count] : {std::pair{0, 2}, std::pair{2, 1}}) {
      const Variable part = diff::l1_distill(diff::slice(student, 0, from, count),
                                             teacher.slice(0, from, count), valid.slice(0, from, count), 7.0);
      total += part.value().item();
      part.backward();
    }
    CHECK(total == Approx(whole.value().item()).epsilon(1e-6));
    CHECK(max_error(numbers(student.grad()), wanted) < 1e-8);
  }
}
