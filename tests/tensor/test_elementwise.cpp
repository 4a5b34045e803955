#include "tensor/kernels/elementwise.h"

#include "tensor/parallel.h"
#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

constexpr BinaryKind kAll[] = {BinaryKind::add, BinaryKind::sub, BinaryKind::mul, BinaryKind::div};

// An operand: its own storage, and the strides by which the op walks it.
struct Operand {
  std::vector<int64_t> strides;
};

struct Case {
  std::vector<int64_t> sizes;
  Operand a, b;
};

int64_t reach(const std::vector<int64_t>& sizes, const Operand& x) {
  int64_t last = 0;
  for (size_t d = 0; d < sizes.size(); ++d) last += std::max<int64_t>(0, sizes[d] - 1) * x.strides[d];
  return last + 1;
}

template <class T>
Binary<T> params(const Case& c, BinaryKind kind, const std::vector<T>& a, const std::vector<T>& b,
                 std::vector<T>& y) {
  Binary<T> p{
      .a = a.data(), .b = b.data(), .y = y.data(), .rank = static_cast<int>(c.sizes.size()), .kind = kind};
  for (size_t d = 0; d < c.sizes.size(); ++d) {
    p.sizes[d] = c.sizes[d];
    p.a_strides[d] = c.a.strides[d];
    p.b_strides[d] = c.b.strides[d];
  }
  return p;
}

void check_case(const Case& c) {
  int64_t count = 1;
  for (const int64_t size : c.sizes) count *= size;
  const auto a = random_values<float>(reach(c.sizes, c.a), 1);
  const auto b = random_values<float>(reach(c.sizes, c.b), 2, 3.0, 0.5);
  for (const BinaryKind kind : kAll) {
    INFO("kind " << static_cast<int>(kind) << " elements " << count << " rank " << c.sizes.size());
    std::vector<float> y(static_cast<size_t>(count) + 3, 7.0F);  // three more that nobody may write
    std::vector<float> plain = y;
    binary(kCpu, params(c, kind, a, b, y));
    reference::binary(params(c, kind, a, b, plain));
    CHECK(y == plain);  // one rounding each: the same bits
  }
}

}  // namespace

TEST_CASE("elementwise: by hand", "[elementwise]") {
  on_every_isa([] {
    // A column [2,1] and a row [3].
    const std::vector<float> column{10, 20};
    const std::vector<float> row{1, 2, 4};
    std::vector<float> y(6);
    Binary<float> p{.a = column.data(),
                    .b = row.data(),
                    .y = y.data(),
                    .rank = 2,
                    .sizes = {2, 3},
                    .a_strides = {1, 0},
                    .b_strides = {0, 1}};
    const auto run = [&](BinaryKind kind) {
      p.kind = kind;
      binary(kCpu, p);
      const std::vector<float> fast = y;
      reference::binary(p);
      CHECK(y == fast);
      return y;
    };
    CHECK(run(BinaryKind::add) == std::vector<float>{11, 12, 14, 21, 22, 24});
    CHECK(run(BinaryKind::sub) == std::vector<float>{9, 8, 6, 19, 18, 16});
    CHECK(run(BinaryKind::mul) == std::vector<float>{10, 20, 40, 20, 40, 80});
    CHECK(run(BinaryKind::div) == std::vector<float>{10, 5, 2.5F, 20, 10, 5});
  });
}

TEST_CASE("elementwise: every pair of strides, odd sizes, and none", "[elementwise]") {
  on_every_isa([] {
    check_case({{}, {{}}, {{}}});  // one number
    for (const int64_t n : {0, 1, 7, 8, 15, 16, 17, 31, 33, 257}) {
      for (const int64_t a_step : {0, 1, 2}) {
        for (const int64_t b_step : {0, 1, 3}) {
          check_case({{n}, {{a_step}}, {{b_step}}});
          check_case({{3, n}, {{n * a_step + 5, a_step}}, {{0, b_step}}});
        }
      }
      check_case({{3, n, 2}, {{2 * n, 2, 1}}, {{2 * n, 2, 1}}});  // merges into one row
      check_case({{3, n, 2}, {{1, 6, 3}}, {{2 * n, 2, 1}}});      // a is transposed
      check_case({{n, 4, 5}, {{20, 5, 1}}, {{0, 5, 1}}});         // b repeats over the first dimension
      check_case({{n, 4, 5}, {{20, 5, 1}}, {{4, 1, 0}}});         // and over the last
      check_case({{2, 1, 3, n, 1, 2}, {{6 * n, 9, 2 * n, 2, 7, 1}}, {{0, 0, 0, 0, 0, 0}}});
    }
    check_case({{70000}, {{1}}, {{1}}});  // several threads' worth
    check_case({{300, 301}, {{301, 1}}, {{0, 1}}});
  });
}

TEST_CASE("elementwise: in place, either side", "[elementwise]") {
  on_every_isa([] {
    const auto a = random_values<float>(1000, 1);
    const auto b = random_values<float>(1000, 2);
    for (const bool left : {false, true}) {
      std::vector<float> x = left ? a : b;
      Binary<float> p{.a = left ? x.data() : a.data(),
                      .b = left ? b.data() : x.data(),
                      .y = x.data(),
                      .rank = 1,
                      .sizes = {1000},
                      .a_strides = {1},
                      .b_strides = {1},
                      .kind = BinaryKind::sub};
      binary(kCpu, p);
      for (size_t i = 0; i < x.size(); ++i) CHECK(x[i] == a[i] - b[i]);
    }
  });
}

TEST_CASE("elementwise: affine", "[elementwise]") {
  on_every_isa([] {
    for (const int64_t count : {0, 1, 7, 16, 33, 257, 70001}) {
      INFO("count " << count);
      const auto x = random_values<float>(count, 1);
      std::vector<float> y(x.size() + 3, 7.0F);
      affine(kCpu, {.x = x.data(), .y = y.data(), .count = count, .scale = 1.5F, .shift = -0.25F});
      for (size_t i = 0; i < x.size(); ++i) REQUIRE(y[i] == Approx(1.5 * x[i] - 0.25).margin(1e-6));
      for (size_t i = x.size(); i < y.size(); ++i) CHECK(y[i] == 7.0F);
      std::vector<float> in_place = x;
      affine(kCpu,
             {.x = in_place.data(), .y = in_place.data(), .count = count, .scale = 1.5F, .shift = -0.25F});
      CHECK(std::equal(in_place.begin(), in_place.end(), y.begin()));
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    float y = 0;
    affine(kCpu, {.x = &nan, .y = &y, .count = 1, .scale = 0.0F, .shift = 1.0F});
    CHECK(std::isnan(y));
  });
}
