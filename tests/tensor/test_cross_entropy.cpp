#include "tensor/kernels/cross_entropy.h"

#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

namespace clipcap {
namespace {

using testing::check_against_oracle;
using testing::on_every_isa;
using testing::random_values;

constexpr int32_t kIgnore = -100;

template <class T>
struct Data {
  int64_t rows, vocab;
  float smoothing;
  std::vector<T> logits, dlogits, loss;
  std::vector<int32_t> targets;

  Data(int64_t n, int64_t v, float e) : rows(n), vocab(v), smoothing(e), loss(1, T{7}) {
    logits = random_values<T>(n * v, 11, 0.5, 3.0);
    dlogits.assign(n * v, T{7});
    for (int64_t r = 0; r < n; ++r) {
      targets.push_back(r % 4 == 2 ? kIgnore : static_cast<int32_t>((r * 37 + 5) % v));
    }
  }
  CrossEntropy<T> params() {
    return {.logits = logits.data(),
            .targets = targets.data(),
            .ignore_index = kIgnore,
            .label_smoothing = smoothing,
            .loss = loss.data(),
            .dlogits = dlogits.data(),
            .rows = rows,
            .vocab = vocab};
  }
};

}  // namespace

TEST_CASE("cross_entropy: by hand", "[cross_entropy]") {
  // Row 0: softmax (1/4, 3/4), target 1; row 1 ignored.
  const std::vector<float> x{0, std::log(3.0F), 5, 6};
  const std::vector<int32_t> targets{1, kIgnore};
  std::vector<float> loss(1);
  std::vector<float> dx(4, 7.0F);
  cross_entropy(Device{}, {.logits = x.data(),
                           .targets = targets.data(),
                           .ignore_index = kIgnore,
                           .label_smoothing = 0.0F,
                           .loss = loss.data(),
                           .dlogits = dx.data(),
                           .rows = 2,
                           .vocab = 2});
  CHECK(loss[0] == Approx(std::log(4.0F / 3.0F)));
  CHECK(dx[0] == Approx(0.25F));
  CHECK(dx[1] == Approx(-0.25F));
  CHECK(dx[2] == 0.0F);
  CHECK(dx[3] == 0.0F);
  // e = 0.5 moves a quarter of the weight: loss = 3/4 ln(4/3) + 1/4 ln 4, gradient (1/4 - 1/4, 3/4 - 3/4).
  cross_entropy(Device{}, {.logits = x.data(),
                           .targets = targets.data(),
                           .ignore_index = kIgnore,
                           .label_smoothing = 0.5F,
                           .loss = loss.data(),
                           .dlogits = dx.data(),
                           .rows = 2,
                           .vocab = 2});
  CHECK(loss[0] == Approx(0.75F * std::log(4.0F / 3.0F) + 0.25F * std::log(4.0F)));
  CHECK((std::abs(dx[0]) < 1e-6F));
  CHECK((std::abs(dx[1]) < 1e-6F));
  const std::vector<int32_t> ignored{kIgnore, kIgnore};
  cross_entropy(Device{}, {.logits = x.data(),
                           .targets = ignored.data(),
                           .ignore_index = kIgnore,
                           .label_smoothing = 0.5F,
                           .loss = loss.data(),
                           .dlogits = dx.data(),
                           .rows = 2,
                           .vocab = 2});
  CHECK(loss[0] == 0.0F);
  CHECK(dx == std::vector<float>(4, 0.0F));
}

TEST_CASE("cross_entropy: gradients", "[cross_entropy]") {
  for (const float smoothing : {0.0F, 0.1F, 1.0F}) {
    Data<double> data(5, 7, smoothing);
    reference::cross_entropy(data.params());
    const std::vector<double> gradient = data.dlogits;
    for (size_t i = 0; i < data.logits.size(); ++i) {
      const double kept = data.logits[i];
      data.logits[i] = kept + 1e-5;
      reference::cross_entropy(data.params());
      const double above = data.loss[0];
      data.logits[i] = kept - 1e-5;
      reference::cross_entropy(data.params());
      data.logits[i] = kept;
      CHECK((std::abs((above - data.loss[0]) / 2e-5 - gradient[i]) < 1e-6));
    }
  }
}

TEST_CASE("cross_entropy: parity with the oracle", "[cross_entropy]") {
  for (const int64_t vocab : {1, 2, 15, 31, 32, 33, 127, 257, 5003}) {
    for (const float smoothing : {0.0F, 0.1F}) {
      const int64_t rows = vocab % 3 * 4 + 1;
      INFO("N " << rows << " V " << vocab << " e " << smoothing);
      Data<double> oracle(rows, vocab, smoothing);
      Data<float> plain(rows, vocab, smoothing);
      reference::cross_entropy(oracle.params());
      reference::cross_entropy(plain.params());
      on_every_isa([&] {
        Data<float> fast(rows, vocab, smoothing);
        cross_entropy(Device{}, fast.params());
        check_against_oracle(fast.loss, plain.loss, oracle.loss);
        check_against_oracle(fast.dlogits, plain.dlogits, oracle.dlogits);
        // In place, and twice: the same bits.
        Data<float> in_place(rows, vocab, smoothing);
        CrossEntropy<float> p = in_place.params();
        p.dlogits = in_place.logits.data();
        cross_entropy(Device{}, p);
        CHECK(in_place.loss == fast.loss);
        CHECK(in_place.logits == fast.dlogits);
      });
    }
  }
  std::vector<float> loss{7};
  cross_entropy(
      Device{},
      {.ignore_index = kIgnore, .label_smoothing = 0.0F, .loss = loss.data(), .rows = 0, .vocab = 10});
  CHECK(loss[0] == 0.0F);
}

TEST_CASE("cross_entropy: divided by the denominator that is given", "[cross_entropy]") {
  const auto check = [](void (*kernel)(const CrossEntropy<float>&)) {
    Data<float> own(9, 21, 0.1F);  // seven rows have a target
    Data<float> given(9, 21, 0.1F);
    kernel(own.params());
    CrossEntropy<float> p = given.params();
    p.denominator = 3.5;
    kernel(p);
    CHECK(given.loss[0] == Approx(own.loss[0] * 7 / 3.5).epsilon(1e-6));
    for (size_t i = 0; i < own.dlogits.size(); ++i) {
      CHECK(given.dlogits[i] == Approx(own.dlogits[i] * 7 / 3.5).epsilon(1e-5).margin(1e-8));
    }
  };
  check(reference::cross_entropy<float>);
  on_every_isa([&] { check([](const CrossEntropy<float>& p) { cross_entropy(Device{}, p); }); });
}

TEST_CASE("cross_entropy: extreme logits", "[cross_entropy]") {
  const float infinity = std::numeric_limits<float>::infinity();
  on_every_isa([&] {
    const std::vector<float> x{0, 200, -infinity, 50000};
    const std::vector<int32_t> target{0};
    std::vector<float> loss(1);
    std::vector<float> dx(4);
    cross_entropy(Device{}, {.logits = x.data(),
                             .targets = target.data(),
                             .ignore_index = kIgnore,
                             .label_smoothing = 0.0F,
                             .loss = loss.data(),
                             .dlogits = dx.data(),
                             .rows = 1,
                             .vocab = 4});
    CHECK(loss[0] == 50000.0F);  // not inf, as the log of a softmax of 0 would be
    CHECK(dx == std::vector<float>{-1, 0, 0, 1});
    const std::vector<float> broken{0, std::nanf("")};
    cross_entropy(Device{}, {.logits = broken.data(),
                             .targets = target.data(),
                             .ignore_index = kIgnore,
                             .label_smoothing = 0.0F,
                             .loss = loss.data(),
                             .rows = 1,
                             .vocab = 2});
    CHECK(std::isnan(loss[0]));
  });
}

TEST_CASE("cross_entropy: a target out of range is named", "[cross_entropy]") {
  Data<float> data(3, 4, 0.0F);
  data.targets = {1, 4, kIgnore};
  CHECK_THROWS_WITH(cross_entropy(Device{}, data.params()),
                    "cross_entropy: row 1 has target 4; expected 0 <= target < V = 4 or the ignored index");
  data.targets = {1, 2, -1};
  CHECK_THROWS_AS(cross_entropy(Device{}, data.params()), Error);
  CHECK(data.loss[0] == 7.0F);  // nothing was written
}

TEST_CASE("softmax: rows", "[cross_entropy]") {
  for (const int64_t dim : {1, 7, 16, 31, 33, 257, 3001}) {
    const std::vector<double> x = random_values<double>(3 * dim, 5, 0.3, 4.0);
    const std::vector<float> x32(x.begin(), x.end());
    for (const bool log : {false, true}) {
      std::vector<double> oracle(x.size());
      std::vector<float> plain(x.size());
      std::vector<float> fast(x32);
      reference::softmax_fwd(
          SoftmaxFwd<double>{.x = x.data(), .y = oracle.data(), .rows = 3, .dim = dim, .log = log});
      reference::softmax_fwd(
          SoftmaxFwd<float>{.x = x32.data(), .y = plain.data(), .rows = 3, .dim = dim, .log = log});
      on_every_isa([&] {
        fast = x32;
        softmax_fwd(Device{}, {.x = fast.data(), .y = fast.data(), .rows = 3, .dim = dim, .log = log});
        check_against_oracle(fast, plain, oracle);
        double total = 0;
        for (int64_t j = 0; j < dim; ++j) total += log ? std::exp(static_cast<double>(fast[j])) : fast[j];
        CHECK(total == Approx(1.0).epsilon(1e-5));
      });
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> y{-infinity, -infinity, 1, -infinity};
  softmax_fwd(Device{}, {.x = y.data(), .y = y.data(), .rows = 2, .dim = 2});
  CHECK(y == std::vector<float>{0, 0, 1, 0});
  y = {-infinity, -infinity, 1, -infinity};
  softmax_fwd(Device{}, {.x = y.data(), .y = y.data(), .rows = 2, .dim = 2, .log = true});
  CHECK(y == std::vector<float>{-infinity, -infinity, 0, -infinity});
}

}  // namespace clipcap
