// The first number that is none, in every floating dtype, wherever it stands.
#include "tensor/finite.h"

#include <limits>

#include "tests/catch.h"

namespace clipcap {

TEST_CASE("the first NaN or infinity is found at its place", "[finite]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    INFO(name_of(dtype));
    for (const float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
      for (const int64_t size : {1, 7, 4096, 4097, 10000}) {
        for (const int64_t at : {int64_t{0}, size / 2, size - 1}) {
          Tensor values = Tensor::zeros({size});
          values.host<float>()[at] = bad;
          values.host<float>()[size - 1] = at == size - 1 ? bad : kInfinity;
          CHECK(first_nonfinite(values.to(dtype)) == at);
        }
      }
    }
  }
}

TEST_CASE("all finite numbers are finite", "[finite]") {
  using Limits = std::numeric_limits<float>;
  CHECK(first_nonfinite(Tensor::from(std::vector<float>{0, -0.0F, Limits::max(), Limits::lowest(),
                                                        Limits::min(), Limits::denorm_min()},
                                     {6})) == -1);
  CHECK(first_nonfinite(Tensor::from(std::vector<float>{65504, -65504}, {2}).to(DType::f16)) == -1);
  CHECK(first_nonfinite(Tensor::zeros({0, 3})) == -1);
  CHECK(first_nonfinite(Tensor::from(std::vector<int32_t>{0x7f800000, -1}, {2})) == -1);
}

TEST_CASE("the place counts in the view's own order", "[finite]") {
  Tensor values = Tensor::zeros({3, 4});
  values.host<float>()[1 * 4 + 2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(first_nonfinite(values) == 6);
  CHECK(first_nonfinite(values.transpose(0, 1)) == 2 * 3 + 1);
  CHECK(first_nonfinite(values.slice(0, 1, 1)) == 2);
  CHECK(first_nonfinite(values.slice(0, 2, 1)) == -1);
}

}  // namespace clipcap
