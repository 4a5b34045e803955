#include "tensor/kernels/layer_norm.h"

#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
struct Case {
  int64_t rows, dim;
  bool with_residual, with_past;
  std::vector<T> x, residual, gamma, beta, dy, past;
  std::vector<T> sum, y, mean, rstd, ds, dgamma, dbeta;

  Case(int64_t n, int64_t d, bool residual_given, bool past_given, double offset = 0.2)
      : rows(n),
        dim(d),
        with_residual(residual_given),
        with_past(past_given),
        x(random_values<T>(n * d, 1, offset)),
        residual(random_values<T>(n * d, 2)),
        gamma(random_values<T>(d, 3, 1.0, 0.3)),
        beta(random_values<T>(d, 4)),
        dy(random_values<T>(n * d, 5)),
        past(random_values<T>(n * d, 6)),
        sum(x.size()),
        y(x.size()),
        mean(static_cast<size_t>(n)),
        rstd(static_cast<size_t>(n)),
        ds(x.size()),
        dgamma(static_cast<size_t>(d), T{77}),
        dbeta(static_cast<size_t>(d), T{77}) {}

  LayerNormFwd<T> fwd() {
    return {.x = x.data(),
            .residual = with_residual ? residual.data() : nullptr,
            .gamma = gamma.data(),
            .beta = beta.data(),
            .sum = sum.data(),
            .y = y.data(),
            .mean = mean.data(),
            .rstd = rstd.data(),
            .rows = rows,
            .dim = dim,
            .eps = T(1e-5)};
  }
  LayerNormBwd<T> bwd() {
    return {.dy = dy.data(),
            .s = sum.data(),
            .gamma = gamma.data(),
            .mean = mean.data(),
            .rstd = rstd.data(),
            .ds_in = with_past ? past.data() : nullptr,
            .ds = ds.data(),
            .dgamma = dgamma.data(),
            .dbeta = dbeta.data(),
            .rows = rows,
            .dim = dim};
  }
};

void check_case(int64_t rows, int64_t dim, bool residual, bool past, double offset = 0.2) {
  INFO("rows " << rows << " dim " << dim << " residual " << residual << " past " << past << " offset "
               << offset);
  Case<float> got(rows, dim, residual, past, offset);
  Case<float> plain(rows, dim, residual, past, offset);
  Case<double> oracle(rows, dim, residual, past, offset);
  layer_norm_fwd(kCpu, got.fwd());
  reference::layer_norm_fwd(plain.fwd());
  reference::layer_norm_fwd(oracle.fwd());
  check_against_oracle(got.y, plain.y, oracle.y);
  check_against_oracle(got.sum, plain.sum, oracle.sum);
  check_against_oracle(got.mean, plain.mean, oracle.mean);
  check_against_oracle(got.rstd, plain.rstd, oracle.rstd);
  // Backward alone: all three start from the same saved numbers.
  plain.sum = got.sum;
  plain.mean = got.mean;
  plain.rstd = got.rstd;
  oracle.sum = converted<double>(got.sum);
  oracle.mean = converted<double>(got.mean);
  oracle.rstd = converted<double>(got.rstd);
  layer_norm_bwd(kCpu, got.bwd());
  reference::layer_norm_bwd(plain.bwd());
  reference::layer_norm_bwd(oracle.bwd());
  if (dim > 1) {
    check_against_oracle(got.ds, plain.ds, oracle.ds);
  } else {
    // One number minus its mean: zero but for the rounding of a product, times rstd = 1 / sqrt(eps).
    CHECK(max_error(got.ds, oracle.ds) < 1e-3);
  }
  check_against_oracle(got.dgamma, plain.dgamma, oracle.dgamma);
  check_against_oracle(got.dbeta, plain.dbeta, oracle.dbeta);
}

}  // namespace

TEST_CASE("layer_norm: by hand", "[layer_norm]") {
  // Row 1..5: mean 3, variance 2.
  const std::vector<float> x{1, 2, 3, 4, 5};
  const std::vector<float> gamma{1, 1, 1, 2, 2};
  const std::vector<float> beta{0, 0, 10, 0, 1};
  std::vector<float> y(5);
  float mean = 0;
  float rstd = 0;
  layer_norm_fwd(kCpu, {.x = x.data(),
                        .gamma = gamma.data(),
                        .beta = beta.data(),
                        .y = y.data(),
                        .mean = &mean,
                        .rstd = &rstd,
                        .rows = 1,
                        .dim = 5,
                        .eps = 0.0F});
  CHECK(mean == 3.0F);
  CHECK(rstd == Approx(0.70710678));
  const std::vector<double> expected{-1.41421356, -0.70710678, 10, 1.41421356, 3.82842712};
  CHECK(max_error(y, expected) < 1e-6);
}

TEST_CASE("layer_norm: gradient against central differences", "[layer_norm]") {
  Case<double> base(3, 5, true, true);
  reference::layer_norm_fwd(base.fwd());
  reference::layer_norm_bwd(base.bwd());
  // The loss whose gradient is dy on y and `past` on the sum.
  const auto loss = [](Case<double> c) {
    reference::layer_norm_fwd(c.fwd());
    double total = 0;
    for (size_t i = 0; i < c.y.size(); ++i) total += c.y[i] * c.dy[i] + c.sum[i] * c.past[i];
    return total;
  };
  const auto check = [&](std::vector<double> Case<double>::*input, const std::vector<double>& gradient) {
    for (size_t i = 0; i < gradient.size(); ++i) {
      Case<double> up = base;
      Case<double> down = base;
      (up.*input)[i] += 1e-5;
      (down.*input)[i] -= 1e-5;
      CHECK(gradient[i] == Approx((loss(up) - loss(down)) / 2e-5).margin(1e-6).epsilon(1e-6));
    }
  };
  check(&Case<double>::x, base.ds);
  check(&Case<double>::residual, base.ds);
  check(&Case<double>::gamma, base.dgamma);
  check(&Case<double>::beta, base.dbeta);
}

TEST_CASE("layer_norm: against the double oracle", "[layer_norm]") {
  on_every_isa([] {
    for (const int64_t dim : {2, 3, 31, 32, 33, 127, 257, 768}) {
      for (const int64_t rows : {1, 2, 19, 70}) {
        check_case(rows, dim, false, false);
        check_case(rows, dim, true, true);
      }
    }
    check_case(5, 1, false, false);
    check_case(9, 257, false, true, 1000.0);  // a large mean: E[x^2] - E[x]^2 would fail here
  });
}

TEST_CASE("layer_norm: without sum, mean and rstd; in place; empty", "[layer_norm]") {
  on_every_isa([] {
    Case<float> c(13, 37, true, false);
    layer_norm_fwd(kCpu, c.fwd());
    std::vector<float> y = c.x;
    LayerNormFwd<float> p = c.fwd();
    p.x = y.data();
    p.y = y.data();
    p.sum = p.mean = p.rstd = nullptr;
    layer_norm_fwd(kCpu, p);
    CHECK(y == c.y);

    Case<float> none(0, 37, false, false);
    layer_norm_fwd(kCpu, none.fwd());
    layer_norm_bwd(kCpu, none.bwd());
    CHECK(none.dgamma == std::vector<float>(37, 0.0F));
    CHECK(none.dbeta == std::vector<float>(37, 0.0F));
    Case<float> narrow(3, 0, false, false);
    layer_norm_fwd(kCpu, narrow.fwd());
    layer_norm_bwd(kCpu, narrow.bwd());
    CHECK(narrow.mean == std::vector<float>(3, 0.0F));
  });
}

TEST_CASE("layer_norm: the same bits twice; gradient orthogonal to constants", "[layer_norm]") {
  on_every_isa([] {
    Case<float> first(50, 130, true, false);
    Case<float> second = first;
    for (Case<float>* c : {&first, &second}) {
      layer_norm_fwd(kCpu, c->fwd());
      layer_norm_bwd(kCpu, c->bwd());
    }
    CHECK(first.y == second.y);
    CHECK(first.ds == second.ds);
    CHECK(first.dgamma == second.dgamma);
    CHECK(first.dbeta == second.dbeta);
    for (int64_t r = 0; r < 50; ++r) {
      double total = 0;  // y does not change when a constant is added to the row
      for (int64_t i = 0; i < 130; ++i)
        total += static_cast<double>(first.ds[static_cast<size_t>(r * 130 + i)]);
      CHECK(std::abs(total) < 1e-4);
    }
  });
}
