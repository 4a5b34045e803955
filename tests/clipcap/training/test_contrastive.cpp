// CLIP's contrastive loss against a plain computation in double, its gradients, and retrieval by hand.
#include "clipcap/training/contrastive.h"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tests/catch.h"
#include "tests/compare.h"

namespace clipcap {
namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<double>(shape.numel(), seed), shape);
}

// Row by row, without any of the engine.
double plain_loss(const Tensor& image, const Tensor& text, double log_scale) {
  const int64_t pairs = image.dim(0), dim = image.dim(1);
  const auto at = [&](const Tensor& x, int64_t row, int64_t d) { return x.data<double>()[row * dim + d]; };
  const auto cosine = [&](int64_t i, int64_t j) {
    double dot = 0, a = 0, b = 0;
    for (int64_t d = 0; d < dim; ++d) {
      dot += at(image, i, d) * at(text, j, d);
      a += at(image, i, d) * at(image, i, d);
      b += at(text, j, d) * at(text, j, d);
    }
    return dot / std::sqrt(a * b);
  };
  double total = 0;
  for (int64_t i = 0; i < pairs; ++i) {
    double row = 0, column = 0;
    for (int64_t j = 0; j < pairs; ++j) {
      row += std::exp(std::exp(log_scale) * cosine(i, j));
      column += std::exp(std::exp(log_scale) * cosine(j, i));
    }
    total += std::log(row) + std::log(column) - 2 * std::exp(log_scale) * cosine(i, i);
  }
  return total / (2 * static_cast<double>(pairs));
}

}  // namespace

TEST_CASE("contrastive loss: against a plain computation", "[contrastive]") {
  for (const int64_t pairs : {1, 2, 7}) {
    const Tensor image = random({pairs, 5}, 1), text = random({pairs, 5}, 2);
    for (const double log_scale : {0.0, 2.6592}) {
      const Variable loss = contrastive_loss(Variable(image), Variable(text),
                                             Variable(Tensor::full({1}, log_scale, DType::f64)));
      CHECK(loss.value().item() == Approx(plain_loss(image, text, log_scale)).margin(1e-12));
    }
  }
  // Pairs that are told apart perfectly cost nothing; features that say nothing cost log B.
  const Tensor apart = Tensor::from(std::vector<double>{1, 0, 0, 1}, {2, 2});
  const Variable hot(Tensor::full({1}, kLargestLogScale, DType::f64));
  CHECK(contrastive_loss(Variable(apart), Variable(apart), hot).value().item() < 1e-12);
  const Tensor same = Tensor::full({4, 3}, 1.0, DType::f64);
  CHECK(contrastive_loss(Variable(same), Variable(same), hot).value().item() == Approx(std::log(4.0)));
  CHECK_THROWS_AS(contrastive_loss(Variable(apart), Variable(same), hot), Error);
}

TEST_CASE("contrastive loss: gradients of features and temperature", "[contrastive]") {
  const Variable image(random({4, 3}, 3), true), text(random({4, 3}, 4), true);
  const Variable log_scale(Tensor::full({1}, 1.3, DType::f64), true);
  const auto result =
      gradcheck([&] { return contrastive_loss(image, text, log_scale); }, std::array{image, text, log_scale});
  INFO(result.place);
  CHECK(result.worst < 1e-7);
}

TEST_CASE("retrieval: ranks by hand", "[contrastive]") {
  const Tensor items = Tensor::from(std::vector<float>{1, 0, 0, 1, -1, 0}, {3, 2});
  const std::vector<size_t> wanted{0, 1, 1, 2};
  // The second query is nearer to item 0 than to its own, the fourth farthest from its own.
  const Tensor queries = Tensor::from(std::vector<float>{2, 0.1F, 3, 1, 0, 5, 1, 0.5F}, {4, 2});
  const Retrieval found = retrieve(queries, items, wanted);
  CHECK(found.queries == 4);
  CHECK(found.items == 3);
  CHECK(found.r1 == Approx(0.5));
  CHECK(found.r5 == 1.0);
  CHECK(found.median_rank == Approx(1.5));  // 1, 2, 1, 3
  // Equally similar, or not a number: the wanted item comes last.
  const Tensor same = Tensor::full({12, 2}, 1.0);
  const Retrieval none = retrieve(same, same, std::vector<size_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(none.r10 == 0);
  CHECK(none.median_rank == 12);
  const Tensor bad = Tensor::full({12, 2}, std::numeric_limits<double>::quiet_NaN());
  CHECK(retrieve(bad, same, std::vector<size_t>(12, 0)).r10 == 0);
  // More queries than are compared at once.
  std::vector<float> many;
  std::vector<size_t> own;
  for (int i = 0; i < 600; ++i) {
    many.insert(many.end(),
                {std::cos(0.001F * static_cast<float>(i)), std::sin(0.001F * static_cast<float>(i))});
    own.push_back(static_cast<size_t>(i));
  }
  const Tensor circle = Tensor::from(many, {600, 2});
  CHECK(retrieve(circle, circle, own).r10 > 0.9);
  CHECK(retrieve(Tensor::empty({0, 2}), items, {}).r1 == 0);
}

}  // namespace clipcap
