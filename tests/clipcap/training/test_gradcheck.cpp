// Every differentiable op and module against finite differences in double.
#include "clipcap/training/gradcheck_suite.h"
#include "tests/catch.h"

using namespace clipcap;

TEST_CASE("every op and module passes the gradient check", "[gradcheck]") {
  for (const GradcheckCase& c : gradcheck_cases()) {
    const GradcheckResult result = c.run();
    INFO(c.name << ": " << result.place);
    CHECK(result.elements > 0);
    CHECK(result.worst < kGradcheckLimit);
  }
}

TEST_CASE("a wrong gradient is caught", "[gradcheck]") {
  const Variable x(Tensor::full({3}, 0.5, DType::f64), true);
  const auto wrong = [&] {
    return make_result("wrong", x.value().clone(), {x}, [](const BackwardArgs& g) -> std::vector<Tensor> {
      return {Tensor::full(g[0].shape(), 2.0, DType::f64)};
    });
  };
  const Variable inputs[] = {x};
  CHECK(gradcheck(wrong, inputs).worst > 0.1);
}
