#include "tensor/kernels/adamw.h"

#include "tensor/parallel.h"
#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
struct Model {
  std::vector<std::vector<T>> param, grad, m, v;
  std::vector<AdamwTensor<T>> tensors;

  explicit Model(const std::vector<int64_t>& sizes) {
    for (size_t i = 0; i < sizes.size(); ++i) {
      param.push_back(random_values<T>(sizes[i], 10 * i + 1));
      grad.push_back(random_values<T>(sizes[i], 10 * i + 2));
      m.push_back(random_values<T>(sizes[i], 10 * i + 3, 0.1, 0.1));
      v.push_back(random_values<T>(sizes[i], 10 * i + 4, 2.0, 0.2));
    }
  }
  void step(void (*kernel)(const AdamwStep<T>&), int64_t number) {
    tensors.clear();
    for (size_t i = 0; i < param.size(); ++i) {
      tensors.push_back({.param = param[i].data(),
                         .grad = grad[i].data(),
                         .m = m[i].data(),
                         .v = v[i].data(),
                         .numel = static_cast<int64_t>(param[i].size()),
                         .weight_decay = i % 2 == 0 ? 0.1F : 0.0F,
                         .lr_scale = i % 3 == 0 ? 1.0F : 0.5F});
    }
    kernel({.tensors = tensors.data(),
            .count = static_cast<int64_t>(tensors.size()),
            .lr = 0.01,
            .beta1 = 0.9,
            .beta2 = 0.98,
            .eps = 1e-6,
            .step = number,
            .grad_scale = 0.75});
  }
};

void fast(const AdamwStep<float>& p) { adamw(kCpu, p); }

double squares(const std::vector<std::vector<float>>& tensors) {
  std::vector<const float*> pointers;
  std::vector<int64_t> counts;
  for (const auto& tensor : tensors) {
    pointers.push_back(tensor.data());
    counts.push_back(static_cast<int64_t>(tensor.size()));
  }
  double result = -1;
  sum_squares(kCpu, {.tensors = pointers.data(),
                     .numels = counts.data(),
                     .count = static_cast<int64_t>(tensors.size()),
                     .result = &result});
  return result;
}

}  // namespace

TEST_CASE("adamw: two steps by hand", "[adamw]") {
  on_every_isa([] {
    float param = 1;
    float grad = 0.5F;
    float m = 0;
    float v = 0;
    AdamwTensor<float> tensor{
        .param = &param, .grad = &grad, .m = &m, .v = &v, .numel = 1, .weight_decay = 0.1F, .lr_scale = 1.0F};
    AdamwStep<float> p{.tensors = &tensor,
                       .count = 1,
                       .lr = 0.01,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .eps = 0.0,
                       .step = 1,
                       .grad_scale = 2.0};
    // g = 1: m = 0.1, v = 0.001, both corrected to 1: the step is lr, after a decay of lr * 0.1.
    adamw(kCpu, p);
    CHECK(param == Approx(1 - 0.001 - 0.01).epsilon(1e-6));
    CHECK(m == Approx(0.1));
    CHECK(v == Approx(0.001));
    // g = -1: m = -0.01 corrected by 0.19, v = 0.001999 corrected by 0.001999.
    grad = -0.5F;
    p.step = 2;
    adamw(kCpu, p);
    CHECK(param == Approx(0.989 * 0.999 + 0.01 * 0.01 / 0.19).epsilon(1e-6));
  });
}

TEST_CASE("adamw: against the double oracle", "[adamw]") {
  on_every_isa([] {
    const std::vector<int64_t> sizes{1, 0, 31, 32, 33, 127, 257, 40000, 5};
    Model<float> got(sizes);
    Model<float> plain(sizes);
    Model<double> oracle(sizes);
    for (const int64_t number : {1, 2, 1000}) {
      got.step(fast, number);
      plain.step(reference::adamw<float>, number);
      oracle.step(reference::adamw<double>, number);
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      INFO("size " << sizes[i]);
      check_against_oracle(got.param[i], plain.param[i], oracle.param[i]);
      check_against_oracle(got.m[i], plain.m[i], oracle.m[i]);
      check_against_oracle(got.v[i], plain.v[i], oracle.v[i]);
    }
  });
}

TEST_CASE("adamw: the same bits for any number of threads", "[adamw]") {
  const int before = thread_count();
  const std::vector<int64_t> sizes{70000, 33, 16384, 16385};
  on_every_isa([&] {
    set_thread_count(1);
    Model<float> one(sizes);
    one.step(fast, 3);
    const double sum_one = squares(one.grad);
    set_thread_count(3);
    Model<float> three(sizes);
    three.step(fast, 3);
    CHECK(one.param == three.param);
    CHECK(one.m == three.m);
    CHECK(one.v == three.v);
    CHECK(sum_one == squares(three.grad));
  });
  set_thread_count(before);
}

TEST_CASE("adamw: sum of squares", "[adamw]") {
  on_every_isa([] {
    CHECK(squares({}) == 0.0);
    CHECK(squares({{3, 4}, {}, {12}}) == 169.0);
    CHECK(squares({{1e25F}}) == Approx(1e50));  // beyond float
    CHECK(squares({{1e-30F}}) == Approx(1e-60));
    for (const int64_t count : {1, 31, 32, 33, 127, 257, 16383, 16384, 16385, 50000}) {
      const auto x = random_values<float>(count, 1);
      double expected = 0;
      for (const float value : x) expected += static_cast<double>(value) * static_cast<double>(value);
      CHECK(squares({x, x}) == Approx(2 * expected).epsilon(1e-12));
    }
  });
}
