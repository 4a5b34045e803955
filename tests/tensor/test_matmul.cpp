#include "tensor/kernels/matmul.h"

#include "tensor/parallel.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
struct Case {
  std::vector<T> a, b, c;
  Matmul<T> p{};
  bool accumulates = false;  // c is its own residual

  Case(int64_t batch, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool accumulate,
       bool shared_b = false)
      : a(random_values<T>(batch * m * k, 1)),
        b(random_values<T>((shared_b ? 1 : batch) * k * n, 2)),
        c(random_values<T>(batch * m * n, 3)) {
    p = {.batch = batch,
         .m = m,
         .n = n,
         .k = k,
         .a_batch_stride = m * k,
         .b_batch_stride = shared_b ? 0 : k * n,
         .c_batch_stride = m * n,
         .a_transposed = ta,
         .b_transposed = tb};
    accumulates = accumulate;
  }
  Matmul<T> params() {
    p.a = a.data();
    p.b = b.data();
    p.c = c.data();
    p.residual = accumulates ? c.data() : nullptr;
    return p;
  }
};

void check_case(int64_t batch, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool accumulate,
                bool shared_b = false) {
  INFO("batch " << batch << " m " << m << " n " << n << " k " << k << " ta " << ta << " tb " << tb
                << " accumulate " << accumulate << " shared b " << shared_b);
  Case<float> got(batch, m, n, k, ta, tb, accumulate, shared_b);
  Case<float> plain(batch, m, n, k, ta, tb, accumulate, shared_b);
  Case<double> oracle(batch, m, n, k, ta, tb, accumulate, shared_b);
  matmul(kCpu, got.params());
  reference::matmul(plain.params());
  reference::matmul(oracle.params());
  check_against_oracle(got.c, plain.c, oracle.c);
}

}  // namespace

TEST_CASE("matmul: 2x3 times 3x2 by hand", "[matmul]") {
  const std::vector<float> a{1, 2, 3, 4, 5, 6};
  const std::vector<float> b{7, 8, 9, 10, 11, 12};
  std::vector<float> c{1000, 1000, 1000, 1000};
  Matmul<float> p{.a = a.data(), .b = b.data(), .c = c.data(), .m = 2, .n = 2, .k = 3};
  const std::vector<float> product{58, 64, 139, 154};
  SECTION("plain") {
    matmul(kCpu, p);
    CHECK(c == product);
  }
  SECTION("reference") {
    reference::matmul(p);
    CHECK(c == product);
  }
  SECTION("accumulate") {
    p.residual = c.data();
    matmul(kCpu, p);
    CHECK(c == std::vector<float>{1058, 1064, 1139, 1154});
  }
  SECTION("transposed storage") {
    const std::vector<float> at{1, 4, 2, 5, 3, 6};
    const std::vector<float> bt{7, 9, 11, 8, 10, 12};
    p.a = at.data();
    p.b = bt.data();
    p.a_transposed = p.b_transposed = true;
    matmul(kCpu, p);
    CHECK(c == product);
  }
}

TEST_CASE("matmul: against the double oracle", "[matmul]") {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const bool accumulate : {false, true}) {
        for (const int64_t size : {1, 2, 31, 32, 33})
          check_case(1, size, size + 1, size + 2, ta, tb, accumulate);
        check_case(1, 1, 257, 33, ta, tb, accumulate);
        check_case(1, 127, 1, 65, ta, tb, accumulate);
        check_case(1, 65, 127, 257, ta, tb, accumulate);  // large enough for the primitive when tb
        check_case(1, 33, 129, 1, ta, tb, accumulate);
        check_case(7, 17, 13, 9, ta, tb, accumulate);
        check_case(3, 50, 50, 64, ta, tb, accumulate);
        check_case(5, 19, 65, 300, ta, tb, accumulate, true);
      }
    }
  }
}

TEST_CASE("matmul: large products in a batch", "[matmul]") {
  check_case(2, 300, 200, 300, false, true, false);
  check_case(3, 260, 260, 260, false, false, false);
}

TEST_CASE("matmul: a batch of large inputs with one thread and with two agree with the oracle", "[matmul]") {
  const int before = thread_count();
  for (const int threads : {1, 2}) {
    set_thread_count(threads);
    check_case(1, 65, 127, 257, false, true, true);
    check_case(4, 33, 31, 64, false, true, false);
  }
  set_thread_count(before);
}

TEST_CASE("matmul: empty dimensions", "[matmul]") {
  std::vector<float> c{1, 2, 3, 4, 5, 6};
  Matmul<float> p{.residual = c.data(), .c = c.data(), .batch = 2, .m = 3, .n = 1, .c_batch_stride = 3};
  matmul(kCpu, p);
  CHECK(c == std::vector<float>{1, 2, 3, 4, 5, 6});
  p.residual = nullptr;
  matmul(kCpu, p);
  CHECK(c == std::vector<float>(6, 0.0F));
  c.assign(6, 7.0F);
  p.m = 0;
  matmul(kCpu, p);
  CHECK(c == std::vector<float>(6, 7.0F));
}

TEST_CASE("matmul: the same call twice gives the same bits", "[matmul]") {
  for (const bool tb : {false, true}) {
    Case<float> first(1, 197, 150, 130, false, tb, false);
    Case<float> second = first;
    matmul(kCpu, first.params());
    matmul(kCpu, second.params());
    CHECK(first.c == second.c);
  }
}

TEST_CASE("matmul: more shapes than the cache of primitives holds", "[matmul]") {
  Case<float> first(1, 16, 128, 128, false, true, false);
  matmul(kCpu, first.params());
  for (int64_t m = 17; m < 90; ++m) {
    Case<float> other(1, m, 128, 128, false, true, false);
    matmul(kCpu, other.params());
  }
  Case<float> again(1, 16, 128, 128, false, true, false);
  matmul(kCpu, again.params());
  CHECK(first.c == again.c);
}
