// Lengths outside [0,T] count as 0 or T in every direction and in backward too, with and
// without initial states.
#include <vector>

#include "autograd/ops.h"
#include "tests/catch.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

constexpr int64_t kBatch = 4;
constexpr int64_t kSteps = 5;
constexpr int64_t kHidden = 3;

struct Gradients {
  std::vector<Tensor> of;  // x, w, h0, c0
};

Tensor values(const Shape& shape, uint64_t seed) {
  return Tensor::from(random_values<float>(shape.numel(), seed, 0.1, 0.5), shape);
}

Gradients run(const std::vector<int32_t>& lengths, bool reverse, bool states) {
  const Variable x(values({kBatch, kSteps, 4 * kHidden}, 1), true);
  const Variable w(values({4 * kHidden, kHidden}, 2), true);
  const Variable h0 = states ? Variable(values({kBatch, kHidden}, 3), true) : Variable();
  const Variable c0 = states ? Variable(values({kBatch, kHidden}, 4), true) : Variable();
  const Tensor given = Tensor::from(lengths, {kBatch});
  const auto out = diff::lstm(x, w, h0, c0, given, reverse);
  const Variable weight(values({kBatch, kSteps, kHidden}, 5));
  const Variable weight_last(values({kBatch, kHidden}, 6));
  const Variable loss = diff::add(diff::sum(diff::mul(out.h, weight)),
                                  diff::sum(diff::mul(diff::add(out.h_last, out.c_last), weight_last)));
  loss.backward();
  Gradients g{{x.grad(), w.grad()}};
  if (states) g.of.insert(g.of.end(), {h0.grad(), c0.grad()});
  return g;
}

}  // namespace

TEST_CASE("lstm: lengths outside [0, T] count as 0 and T, backward included", "[ragged_lstm]") {
  for (const bool reverse : {false, true}) {
    for (const bool states : {false, true}) {
      INFO("reverse " << reverse << " states " << states);
      const Gradients wild = run({kSteps + 3, -2, 2, 1 << 30}, reverse, states);
      const Gradients tame = run({kSteps, 0, 2, kSteps}, reverse, states);
      for (size_t i = 0; i < wild.of.size(); ++i) {
        INFO("gradient " << i);
        const Tensor a = wild.of[i].contiguous();
        const Tensor b = tame.of[i].contiguous();
        REQUIRE(a.shape() == b.shape());
        for (int64_t j = 0; j < a.numel(); ++j) CHECK(a.data<float>()[j] == b.data<float>()[j]);
      }
    }
  }
}
