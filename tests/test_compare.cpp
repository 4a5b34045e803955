// The tests' own rule of comparison: what it calls equal decides what every other test can notice.
#include <sstream>

#include "tests/golden_file.h"

using namespace clipcap;
using testing::Deviation;
using testing::max_error;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool within(const Deviation& deviation, double limit) { return deviation < limit; }

}  // namespace

TEST_CASE("max_error: a NaN among right numbers fails every comparison, wherever it stands", "[compare]") {
  const std::vector<double> right(1000, 1.0);
  for (const size_t at : {size_t{0}, size_t{1}, size_t{500}, size_t{999}}) {
    std::vector<double> wrong = right;
    wrong[at] = kNan;
    CHECK(std::isnan(max_error(wrong, right).error));
    CHECK(std::isnan(max_error(right, wrong).error));
    CHECK_FALSE(within(max_error(wrong, right), kInfinity));
    CHECK(max_error(wrong, right).at == at);
  }
  // Once 999 NaNs and one right number passed: the finite error after them replaced them.
  std::vector<double> mostly(1000, kNan);
  mostly[999] = 1.0;
  CHECK_FALSE(within(max_error(mostly, right), kInfinity));
  CHECK_FALSE(within(max_error(mostly, mostly), kInfinity));
  CHECK_FALSE(within(testing::difference(Tensor::from(mostly, {1000}), Tensor::from(right, {1000})), 1.0));
}

TEST_CASE("max_error: the worst element and both its values", "[compare]") {
  const std::vector<float> a{1.0F, 2.0F, 3.0F, 4.0F};
  const std::vector<double> b{1.0, 2.5, 1.0, 4.0};
  const Deviation worst = max_error(a, b);
  CHECK(worst.error == 2.0);
  CHECK(worst.at == 2);
  CHECK(worst.a == 3.0);
  CHECK(worst.b == 1.0);
  std::ostringstream text;
  text << worst;
  CHECK(text.str() == "2 (element 2 of 4: 3 against 1)");
  CHECK(max_error(a, a).error == 0.0);
  CHECK(max_error(std::vector<float>{}, std::vector<float>{}).error == 0.0);
}

TEST_CASE("max_error: equal infinities are equal, others infinitely far", "[compare]") {
  const std::vector<double> a{kInfinity, -kInfinity, 0.0};
  CHECK(max_error(a, a).error == 0.0);
  CHECK(max_error(a, std::vector<double>{kInfinity, kInfinity, 0.0}).error == kInfinity);
  CHECK(max_error(a, std::vector<double>{kInfinity, -kInfinity, kInfinity}).at == 2);
}

TEST_CASE("the oracle's rule: four times the plain float error and a few ulp", "[compare]") {
  using testing::within_oracle;
  const std::vector<double> oracle{1.0, -2.0, 0.5};
  const std::vector<float> plain{1.0F, -2.0F + 1e-5F, 0.5F};
  const auto got = [](float error) { return std::vector<float>{1.0F, -2.0F, 0.5F + error}; };
  CHECK(within_oracle(got(0.0F), plain, oracle));
  CHECK(within_oracle(got(3.9e-5F), plain, oracle));
  CHECK_FALSE(within_oracle(got(5e-5F), plain, oracle));
  CHECK_FALSE(within_oracle(got(static_cast<float>(kNan)), plain, oracle));
  CHECK_FALSE(within_oracle(got(0.0F), {1.0F, static_cast<float>(kNan), 0.5F}, oracle));
  CHECK_FALSE(within_oracle(got(0.0F), plain, {1.0, kNan, 0.5}));
  // A plain reference that is right by luck leaves a few ulp of the largest value.
  CHECK(within_oracle(got(3e-6F), {1.0F, -2.0F, 0.5F}, oracle));
  CHECK_FALSE(within_oracle(got(5e-6F), {1.0F, -2.0F, 0.5F}, oracle));
}
